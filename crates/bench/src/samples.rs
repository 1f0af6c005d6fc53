//! Repeated measurements, and how a table shows them.

/// Repeated measurements of the same quantity.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples(Vec<f64>);

impl Samples {
    pub(crate) fn record(&mut self, value: f64) {
        self.0.push(value);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn sum(&self) -> f64 {
        self.0.iter().sum()
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }

    /// The median. Of an even number of samples it is the lower one, which was measured.
    pub(crate) fn median(&self) -> Option<f64> {
        self.sorted().get(self.0.len().checked_sub(1)? / 2).copied()
    }

    /// The median with this many decimals, or a dash.
    pub(crate) fn show(&self, decimals: usize) -> String {
        self.median().map_or_else(dash, |median| format!("{median:.decimals$}"))
    }

    /// "median (smallest-largest)", or a dash.
    pub(crate) fn spread(&self, decimals: usize, range_decimals: usize) -> String {
        let sorted = self.sorted();
        let (Some(low), Some(high)) = (sorted.first(), sorted.last()) else { return dash() };
        format!("{} ({low:.range_decimals$}-{high:.range_decimals$})", self.show(decimals))
    }

    /// The ratio of the medians, or a dash.
    pub(crate) fn over(&self, other: &Self) -> String {
        match (self.median(), other.median()) {
            (Some(one), Some(other)) if other > 0.0 => format!("{:.2}", one / other),
            _ => dash(),
        }
    }
}

fn dash() -> String {
    "-".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shown() {
        let mut samples = Samples::default();
        assert_eq!((samples.show(1), samples.spread(1, 0), samples.over(&samples)), (dash(), dash(), dash()));
        for value in [30.0, 10.0, 20.25, 40.0] {
            samples.record(value);
        }
        assert_eq!(samples.show(2), "20.25");
        assert_eq!(samples.spread(1, 0), "20.2 (10-40)");
        let mut other = Samples::default();
        other.record(0.0);
        assert_eq!(samples.over(&other), "-");
        other.record(81.0);
        other.record(81.0);
        assert_eq!(samples.over(&other), "0.25");
    }
}
