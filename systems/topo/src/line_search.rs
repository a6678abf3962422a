//! A step that lowers a function enough and flattens it (Moré and Thuente 1994).

/// Share of the first slope by which the value must fall.
const FALL: f64 = 1e-3;

/// Share of the first slope that may be left.
const FLAT: f64 = 0.9;

/// Width of the bracket, as a share of its end, at which nothing better is to be found.
const NARROW: f64 = 0.1;

/// A step with value and slope there.
#[derive(Clone, Copy)]
struct Trial {
    t: f64,
    f: f64,
    g: f64,
}

/// Value, slope and length of a step of at most `most` from where value and slope are `from`, tried first at
/// `start`; `at` gives value and slope after a step, and was called last for the one returned. `None` where 20
/// trials find none.
pub(crate) fn wolfe(
    from: (f64, f64),
    start: f64,
    most: f64,
    mut at: impl FnMut(f64) -> (f64, f64),
) -> Option<(f64, f64, f64)> {
    let needed = FALL * from.1;
    let first = Trial { t: 0.0, f: from.0, g: from.1 };
    let (mut best, mut other) = (first, first);
    let (mut bracketed, mut early) = (false, true);
    let (mut width, mut width_before) = (most, 2.0 * most);
    let (mut low, mut high) = (0.0, start + 4.0 * start);
    let mut t = start;
    for _ in 0..20 {
        let (f, g) = at(t);
        let now = Trial { t, f, g };
        let enough = from.0 + t * needed;
        early &= !(f <= enough && g >= 0.0);
        let stuck = bracketed && (t <= low || t >= high || high - low <= NARROW * high);
        let at_end = t == most && f <= enough && g <= needed;
        if f <= enough && g.abs() <= FLAT * -from.1 || at_end || (stuck && f <= enough) {
            return f.is_finite().then_some((f, g, t));
        }
        if !f.is_finite() {
            // Outside where the function is defined: nearer.
            (bracketed, other) = (true, Trial { t, f: f64::MAX, g: f64::MAX });
            t = 0.5 * (best.t + t);
            (low, high) = (best.t.min(other.t), best.t.max(other.t));
            continue;
        }
        if early && f <= best.f && f > enough {
            // On the function less the fall that is asked for, as long as that has no fallen step.
            let less = |x: Trial| Trial { f: x.f - x.t * needed, g: x.g - needed, ..x };
            let more = |x: Trial| Trial { f: x.f + x.t * needed, g: x.g + needed, ..x };
            let (mut b, mut o) = (less(best), less(other));
            t = narrow(&mut b, &mut o, less(now), &mut bracketed, (low, high));
            (best, other) = (more(b), more(o));
        } else {
            t = narrow(&mut best, &mut other, now, &mut bracketed, (low, high));
        }
        if !t.is_finite() {
            t = 0.5 * (best.t + other.t);
        }
        if bracketed {
            if (other.t - best.t).abs() >= 0.66 * width_before {
                t = best.t + 0.5 * (other.t - best.t);
            }
            (width_before, width) = (width, (other.t - best.t).abs());
            (low, high) = (best.t.min(other.t), best.t.max(other.t));
        } else {
            (low, high) = (t + 1.1 * (t - best.t), t + 4.0 * (t - best.t));
        }
        t = t.clamp(0.0, most);
        if bracketed && (t <= low || t >= high || high - low <= NARROW * high) {
            t = best.t;
        }
    }
    None
}

/// Puts `now` into the bracket of `best` and `other`; gives the next step to try, by cubic and quadratic
/// interpolation.
fn narrow(
    best: &mut Trial,
    other: &mut Trial,
    now: Trial,
    bracketed: &mut bool,
    (low, high): (f64, f64),
) -> f64 {
    let opposite = now.g * best.g.signum() < 0.0;
    // Coefficients of the cubic through `a` and `now`.
    let cubic = |a: Trial, clip: bool| {
        let theta = 3.0 * (a.f - now.f) / (now.t - a.t) + a.g + now.g;
        let s = theta.abs().max(a.g.abs()).max(now.g.abs());
        let inner = (theta / s).powi(2) - (a.g / s) * (now.g / s);
        (theta, s * if clip { inner.max(0.0) } else { inner }.sqrt())
    };
    let secant = now.t + now.g / (now.g - best.g) * (best.t - now.t);
    let next;
    if now.f > best.f {
        // Higher: the minimum is between.
        let (theta, mut gamma) = cubic(*best, false);
        if now.t < best.t {
            gamma = -gamma;
        }
        let r = (gamma - best.g + theta) / (gamma - best.g + gamma + now.g);
        let c = best.t + r * (now.t - best.t);
        let q = best.t + best.g / ((best.f - now.f) / (now.t - best.t) + best.g) / 2.0 * (now.t - best.t);
        next = if (c - best.t).abs() < (q - best.t).abs() { c } else { c + (q - c) / 2.0 };
        *bracketed = true;
    } else if opposite {
        // Lower, and beyond the minimum.
        let (theta, mut gamma) = cubic(*best, false);
        if now.t > best.t {
            gamma = -gamma;
        }
        let r = (gamma - now.g + theta) / (gamma - now.g + gamma + best.g);
        let c = now.t + r * (best.t - now.t);
        next = if (c - now.t).abs() > (secant - now.t).abs() { c } else { secant };
        *bracketed = true;
    } else if now.g.abs() < best.g.abs() {
        // Lower and flatter: the cubic may have no minimum, or one beyond.
        let (theta, mut gamma) = cubic(*best, true);
        if now.t > best.t {
            gamma = -gamma;
        }
        let r = (gamma - now.g + theta) / (gamma + (best.g - now.g) + gamma);
        let c = match r < 0.0 && gamma != 0.0 {
            true => now.t + r * (best.t - now.t),
            false if now.t > best.t => high,
            false => low,
        };
        if *bracketed {
            let nearer = if (c - now.t).abs() < (secant - now.t).abs() { c } else { secant };
            let end = now.t + 0.66 * (other.t - now.t);
            next = if now.t > best.t { nearer.min(end) } else { nearer.max(end) };
        } else {
            let farther = if (c - now.t).abs() > (secant - now.t).abs() { c } else { secant };
            next = farther.clamp(low, high);
        }
    } else if *bracketed {
        // Lower and as steep: towards the other end.
        let (theta, mut gamma) = cubic(*other, false);
        if now.t > other.t {
            gamma = -gamma;
        }
        let r = (gamma - now.g + theta) / (gamma - now.g + gamma + other.g);
        next = now.t + r * (other.t - now.t);
    } else {
        next = if now.t > best.t { high } else { low };
    }
    if now.f > best.f {
        *other = now;
    } else {
        if opposite {
            *other = *best;
        }
        *best = now;
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Value and slope.
    type Line = fn(f64) -> (f64, f64);

    #[test]
    fn the_step_lowers_and_flattens_whatever_the_first_trial() {
        let functions: [(&str, Line); 3] = [
            ("parabola", |t| ((t - 3.0).powi(2), 2.0 * (t - 3.0))),
            ("far", |t| (-t / (t * t + 2.0), (t * t - 2.0) / (t * t + 2.0).powi(2))),
            ("wall", |t| (if t < 2.0 { -(2.0 - t).ln() - t } else { f64::INFINITY }, 1.0 / (2.0 - t) - 1.0)),
        ];
        for (name, f) in functions {
            let from = f(0.0);
            for start in [1e-3, 0.1, 1.0, 10.0, 1e3] {
                let found = wolfe(from, start, 1e10, f);
                let (value, slope, t) = found.unwrap_or_else(|| panic!("{name} from {start}"));
                assert_eq!((value, slope), f(t));
                assert!(
                    value <= from.0 + 1e-3 * t * from.1 && slope.abs() <= 0.9 * from.1.abs(),
                    "{name} {start}"
                );
            }
        }
    }
}
