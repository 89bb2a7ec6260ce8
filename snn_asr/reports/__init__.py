"""Finished runs and trained models compared with each other, in tables, pages and figures.

    comparison.py   the rows of ``compare``; table.py prints them, frontier.py draws error against multiplications
    html.py         the page of ``compare --report``, with curves.py, spikes.py, worst_utterances.py, players.py and
                    run_details.py for its parts; charts.py draws, rendering.py fills in templates/
    analysis.py     what ``analyze`` finds out, with gradients.py and activity.py; figures.py draws it
"""
