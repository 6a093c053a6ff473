//! The number of rounds: how often the ports of a host that have not answered are tried again.

/// The minimum number of retries without `--retries`.
const LEAST: u32 = 2;

/// The maximum number of retries without `--retries`.
const MOST: u32 = 12;

/// The number of ports that may be missed: the expected value at which the rounds end.
const TOLERATED: f64 = 0.01;

/// The attempts at a host so far, and the number of rounds.
#[derive(Clone, Debug)]
pub struct Rounds {
    /// The number of retries that the user asks for.
    retries: Option<u32>,
    done: u32,
    /// The number of ports that have answered.
    answered: u32,
    /// The number of earlier attempts at these ports, whose segments were thus lost.
    lost: u32,
}

impl Rounds {
    /// Creates the count before the first round.
    pub fn new(retries: Option<u32>) -> Self {
        Self { retries, done: 0, answered: 0, lost: 0 }
    }

    /// Adds a port that has answered after `lost` attempts without this answer.
    pub fn add_answer(&mut self, lost: u32) {
        self.answered += 1;
        self.lost += lost;
    }

    /// Adds a round. Returns whether there is another one.
    pub fn another(&mut self) -> bool {
        self.done += 1;
        match self.retries {
            Some(retries) => self.done <= retries,
            None => self.done <= LEAST || (self.done <= MOST && self.missed() > TOLERATED),
        }
    }

    /// Returns the expected number of ports that would answer, and whose attempts were all lost so far.
    fn missed(&self) -> f64 {
        let (answered, lost) = (f64::from(self.answered), f64::from(self.lost));
        // Without any loss so far, a small probability remains.
        let probability = (lost + 0.1) / (answered + lost + 1.0);
        answered * probability.powf(f64::from(self.done))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the number of rounds if round N gets `answers[N]` new answers, and later ones get none.
    fn count(retries: Option<u32>, answers: &[u32]) -> usize {
        let mut rounds = Rounds::new(retries);
        let mut answers = answers.iter();
        let mut round = || {
            let lost = rounds.done;
            (0..answers.next().copied().unwrap_or(0)).for_each(|_| rounds.add_answer(lost));
            rounds.another()
        };
        (1..100).find(|_| !round()).unwrap()
    }

    #[test]
    fn a_fixed_number_of_retries_ignores_the_answers() {
        assert_eq!(count(Some(0), &[9, 9]), 1);
        assert_eq!(count(Some(5), &[0]), 6);
        assert_eq!(count(Some(20), &[9]), 21);
    }

    #[test]
    fn two_retries_suffice_without_loss() {
        for answers in [0, 1, 20, 2000, 65_535] {
            assert_eq!(count(None, &[answers]), 3, "{answers}");
        }
        // A single loss among few ports says little.
        assert_eq!(count(None, &[19, 1]), 3);
    }

    /// The answers are those of a path that loses a share of the attempts. After six rounds, 2000 * 0.1^6 = 0.002 ports
    /// are left, and after four, 20 * 0.09^4 = 0.001. With half of the attempts lost, the rounds end at their maximum.
    #[test]
    fn retries_follow_the_loss() {
        assert_eq!(count(None, &[1800, 180, 18, 2]), 6);
        assert_eq!(count(None, &[18, 2]), 4);
        assert_eq!(count(None, &[1000, 500, 250, 125, 62, 31, 16, 8, 4, 2, 1]), 13);
    }
}
