//! Which commit to try next.

/// What a commit turned out to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trial {
    /// As the good end.
    Good,
    /// As the bad end.
    Bad,
    /// It says nothing.
    Skipped,
}

/// What to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Try this commit.
    Try(usize),
    /// The last good commit, and the first that is known to be bad. What lies between them was skipped.
    Found { good: usize, bad: usize },
}

/// The next step over commits of which the first is good and the last is bad; `None` stands for a commit that was not tried.
pub(super) fn next(trials: &[Option<Trial>]) -> Step {
    let bad = trials.iter().position(|trial| *trial == Some(Trial::Bad)).unwrap_or(trials.len());
    let good = trials[..bad].iter().rposition(|trial| *trial == Some(Trial::Good)).unwrap_or(0);
    let middle = (good + bad) / 2;
    let untried = (good + 1..bad).filter(|at| trials[*at].is_none());
    match untried.min_by_key(|at| at.abs_diff(middle)) {
        Some(at) => Step::Try(at),
        None => Step::Found { good, bad },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_found_in_few_steps_also_around_what_is_skipped() {
        for first_bad in 1..33 {
            for skipped in [0, 5, 16] {
                let mut trials = vec![None; 33];
                (trials[0], trials[32]) = (Some(Trial::Good), Some(Trial::Bad));
                let mut steps = 0;
                let found = loop {
                    match next(&trials) {
                        Step::Try(at) => {
                            let trial = if at >= first_bad { Trial::Bad } else { Trial::Good };
                            trials[at] = Some(if at == skipped { Trial::Skipped } else { trial });
                            steps += 1;
                        }
                        Step::Found { good, bad } => break (good, bad),
                    }
                };
                assert!(steps <= 8, "{steps}");
                let between = found.1 - found.0;
                assert!(found.0 < first_bad && first_bad <= found.1, "{first_bad} is within {found:?}");
                assert!(between == 1 || (between == 2 && found.0 + 1 == skipped), "{found:?}");
            }
        }
    }
}
