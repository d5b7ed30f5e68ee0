"""Demand, capacity and fleet to a Decision. Pure."""
