"""What people read: figures and reasons as one page."""

from cachewright.report.html import report

__all__ = ["report"]
