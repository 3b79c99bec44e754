"""The sample: the network, producers, goods, prices and stock of Nyingchi.

Sites and products are those of `data`; villages, people, cooperatives, companies and
lots are made, the same ones for the same seed. `loading` brings them in by the HTTP APIs.
"""
