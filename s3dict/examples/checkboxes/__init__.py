"""Checkboxes that all visitors share: ``python -m s3dict.examples.checkboxes``.

A box that is checked on one page is checked on all pages, whichever server they are connected to. The servers do not
know each other and keep no state: it is in a Dict, as bitmaps of 10,000 boxes each.

- `bitmaps`: the values of the Dict.
- `board`: how a server changes boxes and detects changes by other servers.
- `web`: the page and its WebSocket, with FastHTML. The page itself is ``page.css`` and ``page.js``.
- `servers`: the processes.
"""
