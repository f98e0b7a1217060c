"""Personalisation as a service: a store of answers, and the tastes that follow from them."""
