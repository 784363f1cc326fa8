use super::*;

#[test]
fn only_an_end_that_gave_the_module_its_chance_counts_for_the_breaker() {
    use HealEnd::{CutShort, Healed, NotConfirmed, Overtaken, Restored, Stuck, TargetBad, WouldBreak};
    for end in [Healed, Restored, TargetBad, WouldBreak, Stuck] {
        assert!(end.counts(), "{end:?}");
    }
    for end in [NotConfirmed, CutShort, Overtaken] {
        assert!(!end.counts(), "{end:?}");
    }
}
