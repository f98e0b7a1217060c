"""The same jobs over any number of users: encode, adapt and score, by parts, here or on Ray."""
