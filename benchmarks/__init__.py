"""Where README's figures come from; each module is a command. Nothing else may run beside one."""
