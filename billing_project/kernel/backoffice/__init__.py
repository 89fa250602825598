"""What every page of the back office stands on: read-only lists, and actions with a form.

Admin classes here and in the apps hold no rules of billing: they show rows and call one service.
"""
