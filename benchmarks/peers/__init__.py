"""The same work in other frameworks, each in an environment of its own: `benchmarks.consumer`.

For each event of the queue `toy.in` a peer writes one row into `effects`, publishes one event to
the exchange `toy` with the key `out`, awaits the broker's confirm, and acknowledges. It is set up
for many messages: several events under way at once, a pool of connections, messages that survive a
restart. No peer counts an event once or keeps the order of events.
"""
