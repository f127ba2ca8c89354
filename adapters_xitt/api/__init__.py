"""What `import adapters_xitt as xitt` offers: functions and classes that do what the commands do,
and give back values."""
