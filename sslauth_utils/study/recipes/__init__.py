"""Recipes: one module for each kind of artifact, importing what it needs to make it and nothing else."""
