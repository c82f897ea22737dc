"""The subcommands of `llmchat`, one module each, imported only when called."""
