"""Streams: requests that keep coming, the backlog behind the table, and what they were worth."""
