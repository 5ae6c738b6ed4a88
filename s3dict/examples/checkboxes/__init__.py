"""Checkboxes that everybody shares: ``python -m s3dict.examples.checkboxes``.

A box that is checked on one page is checked on all, whichever server they come from. The servers know nothing of each
other and keep nothing: what is checked lies in a Dict alone, as bitmaps of 10,000 boxes.

- `bitmaps`: what lies in the Dict.
- `board`: how boxes are changed, and how the changes of others are noticed.
- `web`: the page and its WebSocket, with FastHTML. The page itself is ``page.css`` and ``page.js``.
- `servers`: the processes.
"""
