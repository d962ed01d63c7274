"""HTTP requests to servers of others, key sets and webhooks: bounded in time and size, without redirects."""
