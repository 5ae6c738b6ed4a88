"""Workers crawl a site together; what they share is one Dict.

Run it with ``python -m s3dict.examples.crawler``. The site is generated and served here, and workers are killed on
the way. The Dict is the frontier, the set of visited pages, and the stop signal: see `frontier.Crawl`.

What "each page exactly once" means when workers die. A worker may be killed between the last byte of a page and its
note that it has that page; no crawler can make these two one step, for the page's server knows nothing of our store.
So here is what holds, and what the program checks against the server's own log:

- Each page is *recorded* exactly once, whatever dies when.
- Each page is *claimed* by one worker at a time, and a claim fetches a page once. So a page whose worker lives is
  fetched exactly once.
- A page is fetched again only if a worker was killed (or stopped for longer than its lease) between the page and its
  record: one page for each such worker, at most. What the dead one has fetched was never recorded.
"""
