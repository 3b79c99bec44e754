"""The sample: the network, producers, goods, prices and stock of Nyingchi.

Sites and products come from `data`. Villages, people, cooperatives, companies and lots are
invented, the same ones for the same seed. `loading` loads the sample by the HTTP APIs.
"""
