"""How a profile is run: options, environment, graph, plan, execution. Nobody imports it."""
