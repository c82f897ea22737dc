"""OpenAI's chat completions on the same streams (platform.openai.com/docs/api-reference/chat).

forms.py     the JSON in and out
request.py   their request as a ChatRequest
answer.py    events as their chunks, or as one completion
endpoint.py  the HTTP of it
"""
