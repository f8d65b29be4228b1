"""The table of kills: one line a scenario, read by `test_lifecycle_kills`.

kind    first: nothing is installed yet; update: version 1 serves
model   what version 2 is like (see `MODELS` there)
point   where it happens: `state<` and `state>` are just before and after the journal has that state, the other
        names just before and after an effect (see `tests/fakes/virtual_device.py`); `:n` is its n-th passing
times   how often, once in each life of the supervisor; `always` as long as the point is reached
what    cut: the supervisor is killed; worker: every worker is killed, the supervisor lives
with    what happens at that moment besides: newer (document 3 comes), away (the broker is gone for a minute),
        acks (the next three PUBACKs are lost)
then    how document 2 ends (`none`: the device never saw it), and the version that serves in the end (0: none)
"""

ROWS = """
update  healthy     fetching<        1       cut     -      ok                 2
update  healthy     fetching>        1       cut     -      ok                 2
update  healthy     fetching>        3       cut     -      ok                 2
update  healthy     chunk<           1       cut     -      ok                 2
update  healthy     chunk>           1       cut     -      ok                 2
update  healthy     chunk>:2         2       cut     -      ok                 2
update  healthy     verifying<       1       cut     -      ok                 2
update  healthy     verifying>       1       cut     -      ok                 2
update  healthy     verifying>       3       cut     -      ok                 2
update  healthy     stage<           1       cut     -      ok                 2
update  healthy     assemble<:2      1       cut     -      ok                 2
update  healthy     assemble>:2      2       cut     -      ok                 2
update  healthy     stage>           1       cut     -      ok                 2
update  healthy     stage<           3       cut     -      ok                 2
update  healthy     staged<          1       cut     -      ok                 2
update  healthy     staged>          1       cut     -      ok                 2
update  healthy     staged>          3       cut     -      ok                 2
update  healthy     proving<         1       cut     -      ok                 2
update  healthy     proving<         4       cut     -      ok                 2
update  healthy     proving>         1       cut     -      ok                 2
update  healthy     proving>         2       cut     -      ok                 2
update  healthy     proving>         3       cut     -      interrupted        1
update  healthy     proving>         always  cut     -      interrupted        1
update  healthy     spawn<:2         1       cut     -      ok                 2
update  healthy     load>:2          1       cut     -      ok                 2
update  healthy     load>:2          always  cut     -      interrupted        1
update  healthy     switching<       1       cut     -      ok                 2
update  healthy     switching<       always  cut     -      interrupted        1
update  healthy     switching>       1       cut     -      ok                 2
update  healthy     switching>       2       cut     -      ok                 2
update  healthy     switching>       always  cut     -      interrupted        1
update  healthy     serve<:2         1       cut     -      ok                 2
update  healthy     serve>:2         2       cut     -      ok                 2
update  healthy     drain<           1       cut     -      ok                 2
update  healthy     drain>           1       cut     -      ok                 2
update  healthy     soaking<         1       cut     -      ok                 2
update  healthy     soaking>         1       cut     -      ok                 2
update  healthy     soaking>         2       cut     -      ok                 2
update  healthy     soaking>         always  cut     -      interrupted        1
update  healthy     committing<      1       cut     -      ok                 2
update  healthy     committing<      always  cut     -      interrupted        1
update  healthy     committing>      1       cut     -      ok                 2
update  healthy     committing>      3       cut     -      ok                 2
update  healthy     reporting<       1       cut     -      ok                 2
update  healthy     reporting<       3       cut     -      ok                 2
update  healthy     reporting>       1       cut     -      ok                 2
update  healthy     reporting>       3       cut     -      ok                 2
update  healthy     idle<:2          1       cut     -      ok                 2
update  healthy     idle>:2          1       cut     -      ok                 2
update  healthy     idle<            1       cut     -      ok                 2
update  healthy     idle>            1       cut     -      ok                 2
update  healthy     tell<:2          1       cut     -      ok                 2
update  healthy     tell>:2          1       cut     -      ok                 2
update  healthy     sweep-slots<     1       cut     -      ok                 2
update  healthy     sweep-slots>     1       cut     -      ok                 2
update  healthy     sweep-chunks<    1       cut     -      ok                 2
update  healthy     sweep-chunks>    1       cut     -      ok                 2
update  healthy     reported<:7      1       cut     -      ok                 2
update  healthy     reported>:7      1       cut     -      ok                 2
update  healthy     acked<:3         1       cut     -      ok                 2
update  healthy     acked>:3         1       cut     -      ok                 2

update  golden      proving>         1       cut     -      golden_mismatch    1
update  golden      proving>         2       cut     -      golden_mismatch    1
update  golden      restoring<       1       cut     -      golden_mismatch    1
update  golden      restoring>       1       cut     -      golden_mismatch    1
update  golden      restoring>       3       cut     -      golden_mismatch    1
update  golden      reporting<       1       cut     -      golden_mismatch    1
update  golden      reporting>       2       cut     -      golden_mismatch    1
update  golden      idle>:2          1       cut     -      golden_mismatch    1
update  aborts      proving>         1       cut     -      worker_crashed     1
update  aborts      restoring>       1       cut     -      worker_crashed     1
update  swells      restoring<       1       cut     -      out_of_memory      1
update  swells      reporting>       1       cut     -      out_of_memory      1
update  hangs       proving>         2       cut     -      worker_hung        1
update  hangs       proving>         always  cut     -      interrupted        1
update  hangs       restoring>       1       cut     -      worker_hung        1
update  crashes     soaking>         1       cut     -      worker_crashed     1
update  crashes     restoring<       1       cut     -      worker_crashed     1
update  crashes     restoring>       2       cut     -      worker_crashed     1
update  crashes     reporting>       1       cut     -      worker_crashed     1
update  errs        soaking>         1       cut     -      non_finite_output  1
update  errs        soaking>         always  cut     -      interrupted        1
update  errs        restoring<       1       cut     -      non_finite_output  1
update  errs        restoring>       3       cut     -      non_finite_output  1
update  errs        idle<:2          1       cut     -      non_finite_output  1
update  silent      restoring>       1       cut     -      worker_hung        1
update  absent      fetching>        1       cut     -      fetch_timeout      1
update  absent      restoring<       1       cut     -      fetch_timeout      1
update  absent      restoring>       1       cut     -      fetch_timeout      1
update  absent      idle>:2          1       cut     -      fetch_timeout      1
update  false       assemble>        1       cut     -      digest_mismatch    1
update  false       restoring<       1       cut     -      digest_mismatch    1
update  false       reporting>       1       cut     -      digest_mismatch    1
update  huge        reporting<       1       cut     -      low_memory         1
update  huge        reporting>       1       cut     -      low_memory         1
update  huge        reporting>       2       cut     -      low_memory         1

first   healthy     fetching>        1       cut     -      ok                 2
first   healthy     chunk>           2       cut     -      ok                 2
first   healthy     stage>           1       cut     -      ok                 2
first   healthy     proving>         1       cut     -      ok                 2
first   healthy     switching>       2       cut     -      ok                 2
first   healthy     soaking>         1       cut     -      ok                 2
first   healthy     soaking>         always  cut     -      interrupted        0
first   healthy     committing>      1       cut     -      ok                 2
first   healthy     reporting>       1       cut     -      ok                 2
first   golden      restoring>       1       cut     -      golden_mismatch    0
first   errs        restoring<       1       cut     -      non_finite_output  0
first   crashes     restoring>       1       cut     -      worker_crashed     0
first   absent      reporting<       1       cut     -      fetch_timeout      0
first   false       reporting>       1       cut     -      digest_mismatch    0

update  healthy     fetching>        1       worker  -      ok                 2
update  healthy     stage<           1       worker  -      ok                 2
update  healthy     load>:2          1       worker  -      out_of_memory      1
update  healthy     switching>       1       worker  -      out_of_memory      1
update  healthy     soaking>         1       worker  -      out_of_memory      1
update  healthy     drain>           1       worker  -      out_of_memory      1
update  healthy     reporting>       1       worker  -      ok                 2
update  healthy     idle>:2          1       worker  -      ok                 2
update  golden      reporting>       1       worker  -      golden_mismatch    1
first   healthy     load>:2          1       worker  -      out_of_memory      0
first   healthy     soaking>         1       worker  -      out_of_memory      0

update  healthy     fetching>        1       cut     away   ok                 2
update  healthy     chunk>           1       cut     away   ok                 2
update  healthy     proving>         1       cut     away   ok                 2
update  healthy     soaking>         2       cut     away   ok                 2
update  healthy     committing>      1       cut     away   ok                 2
update  healthy     idle<:2          1       cut     away   ok                 2
update  golden      restoring>       1       cut     away   golden_mismatch    1
update  errs        reporting>       1       cut     away   non_finite_output  1
first   errs        restoring<       1       cut     away   non_finite_output  0

update  healthy     reported>:7      1       cut     acks   ok                 2
update  healthy     idle>:2          1       cut     acks   ok                 2
update  healthy     acked<:2         2       cut     acks   ok                 2
update  errs        idle>:2          1       cut     acks   non_finite_output  1
update  golden      reported>:4      1       cut     acks   golden_mismatch    1

update  healthy     fetching<        1       cut     newer  superseded         3
update  healthy     fetching>        1       cut     newer  superseded         3
update  healthy     chunk>           1       cut     newer  superseded         3
update  healthy     verifying>       1       cut     newer  superseded         3
update  healthy     staged>          1       cut     newer  superseded         3
update  healthy     proving>         1       cut     newer  superseded         3
update  healthy     switching>       1       cut     newer  superseded         3
update  healthy     soaking>         1       cut     newer  superseded         3
update  healthy     committing>      1       cut     newer  ok                 3
update  healthy     reporting>       1       cut     newer  ok                 3
update  healthy     idle<:2          1       cut     newer  ok                 3
update  errs        soaking>         1       cut     newer  superseded         3
update  errs        restoring>       1       cut     newer  non_finite_output  3
update  absent      fetching>        2       cut     newer  superseded         3
first   golden      restoring>       1       cut     newer  golden_mismatch    3
"""
