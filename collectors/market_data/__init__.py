"""Collects market data between the polls: order books, trades and funding rates."""
