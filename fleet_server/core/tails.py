"""Tail probabilities of the tests that drift rests on, in plain Python: the server needs no scipy.

House rules: every function returns the probability of a value at least as extreme under the null hypothesis, within
[0, 1], accurate to about 1e-10 relative where that matters (small p-values).
"""

import math
from functools import lru_cache

_EPSILON = 1e-15
_TINY = 1e-300
_MAX_TERMS = 10_000


def chi_square_tail(statistic: float, freedom: int) -> float:
    """Return P(X >= statistic) for X of a chi-square distribution with `freedom` degrees of freedom.

    It is the upper regularised incomplete gamma function Q(freedom/2, statistic/2). Source: NIST Digital Library of
    Mathematical Functions, 8.2.4, by the series 8.7.1 below a + 1 and the continued fraction 8.9.2 above.

    Raises:
        ValueError: `freedom` is below 1.
    """
    if freedom < 1:
        raise ValueError(f"a chi-square distribution has 1 degree of freedom at least, not {freedom}")
    if statistic <= 0:
        return 1.0
    a, x = freedom / 2, statistic / 2
    factor = math.exp(a * math.log(x) - x - math.lgamma(a))
    return 1.0 - factor * _gamma_series(a, x) if x < a + 1 else factor * _gamma_fraction(a, x)


def kolmogorov_tail(distance: float, n: int, m: int) -> float:
    """Return the two-sample Kolmogorov-Smirnov test's p-value for the largest distance of two distributions.

    With counts in bins the distance is a lower bound of that of the rows themselves, so the p-value errs on the safe
    side. Sources: A. Kolmogorov (1933), Giornale dell'Istituto Italiano degli Attuari 4, for the limit
    Q(t) = 2 sum (-1)^(j-1) exp(-2 j^2 t^2); M. A. Stephens (1970), Journal of the Royal Statistical Society B 32, for
    the correction at finite sizes.
    """
    if n < 1 or m < 1 or distance <= 0:
        return 1.0
    root = math.sqrt(n * m / (n + m))
    t = (root + 0.12 + 0.11 / root) * distance
    if t < 0.2:
        return 1.0  # 1 - Q is below 1e-12 here, and the alternating series converges slowly
    total = 0.0
    for j in range(1, 101):
        term = math.exp(-2.0 * (j * t) ** 2)
        total += term if j % 2 else -term
        if term < _EPSILON * abs(total):
            break
    return min(1.0, max(0.0, 2.0 * total))


@lru_cache(maxsize=4096)
def student_critical(tail: float, freedom: int) -> float:
    """Return the t that a Student variable of `freedom` degrees of freedom exceeds with probability `tail`.

    By bisection on `student_tail`.

    Raises:
        ValueError: `tail` is not above 0 and below 0.5, or `freedom` below 1.
    """
    if not 0 < tail < 0.5 or freedom < 1:
        raise ValueError(f"a tail is above 0 and below 0.5, and freedom 1 at least, not {tail} and {freedom}")
    low, high = 0.0, 1.0
    while student_tail(high, freedom) > tail:
        high *= 2.0
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if student_tail(middle, freedom) > tail else (low, middle)
        if high - low < 1e-10 * high:
            break
    return high


def binomial_tail(count: int, n: int, share: float) -> float:
    """Return the probability of `count` or more of `n` where each has the probability `share`."""
    if count <= 0:
        return 1.0
    terms = (
        math.exp(_log_choose(n, k) + k * math.log(share) + (n - k) * math.log1p(-share)) for k in range(count, n + 1)
    )
    return min(1.0, sum(terms))


def excess_tail(count: int, n: int, known: int, m: int) -> float:
    """Return how likely `count` or more of `n` new rows have a property that `known` of `m` training rows had.

    Fisher's exact test, one-sided. Given the total, the new rows' share is hypergeometric; unlike a binomial test with
    the training share put in for the probability, it allows for that share being itself a sample. With `known` = 0 it
    is also the distribution-free probability that so many new values lie beyond the training extreme (S. S. Wilks,
    1941, Annals of Mathematical Statistics 12).

    Raises:
        ValueError: a count is negative or over its size.
    """
    if not 0 <= count <= n or not 0 <= known <= m:
        raise ValueError(f"counts {count} of {n} and {known} of {m} are no counts")
    if count == 0:
        return 1.0
    marked = count + known
    whole = _log_choose(n + m, marked)
    # Terms 40 deviations below the mean weigh less than 1e-300 together: start there at the earliest.
    mean = marked * n / (n + m)
    total = 0.0
    for k in range(max(count, int(mean - 40.0 * math.sqrt(mean + 1.0))), min(n, marked) + 1):
        term = math.exp(_log_choose(n, k) + _log_choose(m, marked - k) - whole)
        total += term
        if 0 < term < total * _EPSILON:
            break
    return min(1.0, total)


def _gamma_series(a: float, x: float) -> float:
    """Return the sum of x^k / (a (a+1) ... (a+k)), the lower function without its factor."""
    term = total = 1.0 / a
    for k in range(1, _MAX_TERMS):
        term *= x / (a + k)
        total += term
        if term < total * _EPSILON:
            break
    return total


def _gamma_fraction(a: float, x: float) -> float:
    """Return the continued fraction of the upper function without its factor, by Lentz's method."""
    b = x + 1.0 - a
    c, d = 1.0 / _TINY, 1.0 / b
    value = d
    for k in range(1, _MAX_TERMS):
        numerator = -k * (k - a)
        b += 2.0
        d = numerator * d + b
        d = 1.0 / (d if abs(d) > _TINY else _TINY)
        c = b + numerator / c
        c = c if abs(c) > _TINY else _TINY
        value *= d * c
        if abs(d * c - 1.0) < _EPSILON:
            break
    return value


def _log_choose(n: int, k: int) -> float:
    """Return the logarithm of the binomial coefficient; minus infinity where it is zero."""
    if k < 0 or k > n:
        return -math.inf
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)


def student_tail(statistic: float, freedom: float) -> float:
    """Return P(T >= statistic) for T of Student's distribution with `freedom` (above 0) degrees of freedom.

    It is half the regularised incomplete beta function I_x(freedom/2, 1/2) at x = freedom / (freedom + statistic^2).
    Source: NIST Digital Library of Mathematical Functions, 8.17.5 by the continued fraction 8.17.22.

    Raises:
        ValueError: `freedom` is not above 0.
    """
    if freedom <= 0:
        raise ValueError(f"Student's distribution has more than 0 degrees of freedom, not {freedom}")
    half = 0.5 * _beta_ratio(freedom / 2, 0.5, freedom / (freedom + statistic * statistic))
    return half if statistic >= 0 else 1.0 - half


def student_quantile(tail: float, freedom: float) -> float:
    """Return t with P(T >= t) = `tail` (above 0, at most 0.5) for Student's distribution, by bisection to 1e-9."""
    low, high = 0.0, 1.0
    while student_tail(high, freedom) > tail and high < 1e12:
        low, high = high, high * 2
    while high - low > 1e-9 * max(high, 1.0):
        middle = (low + high) / 2
        low, high = (middle, high) if student_tail(middle, freedom) > tail else (low, middle)
    return high


def _beta_ratio(a: float, b: float, x: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b)."""
    if x <= 0 or x >= 1:
        return 0.0 if x <= 0 else 1.0
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    if x > (a + 1) / (a + b + 2):
        return 1.0 - math.exp(log_front) * _beta_fraction(b, a, 1 - x) / b
    return math.exp(log_front) * _beta_fraction(a, b, x) / a


def _beta_fraction(a: float, b: float, x: float) -> float:
    """Return the continued fraction of the incomplete beta function, by the method of Lentz."""
    c, d = 1.0, 1.0 - (a + b) * x / (a + 1)
    d = 1.0 / (d if abs(d) > _TINY else _TINY)
    value = d
    for m in range(1, _MAX_TERMS):
        for term in (
            m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m)),
            -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1)),
        ):
            d, c = 1.0 + term * d, 1.0 + term / c
            d = 1.0 / (d if abs(d) > _TINY else _TINY)
            c = c if abs(c) > _TINY else _TINY
            value *= d * c
        if abs(d * c - 1.0) < _EPSILON:
            break
    return value
