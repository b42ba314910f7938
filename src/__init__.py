"""A data-scaling study: how error falls as the training set grows, and what more data would buy.

The folders are the sentence: ``data`` turns images into batches, ``training`` turns batches into
checkpoints, ``evaluation`` turns checkpoints into errors, ``scaling`` turns errors into a law;
``prediction`` turns checkpoints into answers about new pictures, and sets that can be relied on.
Around them: ``config`` (what a study is), ``cli`` (the commands), ``launchers`` (where runs
execute), ``runs`` (what a run leaves on disk), ``models`` and ``devices``.
"""
