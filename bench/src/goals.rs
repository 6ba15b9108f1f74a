//! The figures to reach, and whether they were reached.

/// One figure.
#[derive(Debug)]
pub(crate) struct Goal {
    pub(crate) what: String,
    /// A text such as "at most 0.70".
    pub(crate) goal: String,
    /// The measured figure. None: a contestant was missing.
    pub(crate) measured: Option<String>,
    pub(crate) met: bool,
}

/// All goals, in the order in which they were measured.
#[derive(Debug, Default)]
pub(crate) struct Goals(pub(crate) Vec<Goal>);

impl Goals {
    /// Adds a figure that should be small.
    pub(crate) fn at_most(&mut self, what: &str, goal: f64, measured: Option<f64>, unit: &str) {
        let met = measured.is_some_and(|measured| measured <= goal);
        self.add(what, format!("at most {goal}{unit}"), measured, unit, met);
    }

    /// Adds a figure that should be large.
    pub(crate) fn at_least(&mut self, what: &str, goal: f64, measured: Option<f64>, unit: &str) {
        let met = measured.is_some_and(|measured| measured >= goal);
        self.add(what, format!("at least {goal}{unit}"), measured, unit, met);
    }

    fn add(&mut self, what: &str, goal: String, measured: Option<f64>, unit: &str, met: bool) {
        self.0.push(Goal {
            what: what.to_owned(),
            goal,
            measured: measured.map(|measured| format!("{}{unit}", rounded(measured))),
            met,
        });
    }
}

/// Two decimals, three for small figures, none for counts.
fn rounded(figure: f64) -> String {
    if figure.fract() == 0.0 {
        format!("{figure:.0}")
    } else if figure.abs() < 0.1 {
        format!("{figure:.3}")
    } else {
        format!("{figure:.2}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_that_was_not_measured_is_not_met() {
        let mut goals = Goals::default();
        goals.at_most("a", 0.5, Some(0.5), "");
        goals.at_most("b", 0.5, Some(0.51), "");
        goals.at_most("c", 0.5, None, "");
        goals.at_least("d", 2.0, Some(1.9), "");
        let met: Vec<bool> = goals.0.iter().map(|goal| goal.met).collect();
        assert_eq!(met, [true, false, false, false]);
        assert!(goals.0[2].measured.is_none());
    }
}
