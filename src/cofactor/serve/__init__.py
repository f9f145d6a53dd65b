"""A saved model as a service: answers by external ids, over HTTP."""
