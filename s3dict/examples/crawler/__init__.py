"""Workers crawl a site together and share one Dict.

Run it with ``python -m s3dict.examples.crawler``. The program generates the site, serves it on 127.0.0.1, and kills
some of the workers. The Dict holds the frontier, the set of visited pages and the stop signal: see `frontier.Crawl`.

"Each page exactly once" needs a definition when workers die. A worker may be killed between receiving a page and
recording it; no crawler can make the two atomic, because the site's server does not take part in our store. These are
the guarantees, which the program checks against the server's log:

- Each page is *recorded* exactly once, whichever process dies at whatever moment.
- Each page is *claimed* by one worker at a time, and a claim fetches a page once. A page whose worker survives is
  therefore fetched exactly once.
- A page is fetched again only if a worker was killed (or suspended for longer than its lease) between fetching and
  recording it: at most one page for each such worker.
"""
