"""The service over HTTP: OpenAI's chat completions with a taste, and what tastes are made of."""
