//! Worlds by hand and at random.

mod changes;
mod cluster;
mod history;
mod hosts;
mod random;
mod scenarios;
mod services;
mod staging;
mod world;

impl crate::Engine {
    /// Nothing is left of a world whose objects are all gone.
    fn assert_empty(&self) {
        assert_eq!(self.identities.items.iter().count(), 0);
        assert_eq!(self.endpoints.items.iter().count(), 0);
        assert_eq!(self.questions.items.iter().count(), 0);
        assert_eq!(self.blocks.items.iter().count(), 0);
        assert_eq!(self.stacks.items.iter().count(), 0);
        assert_eq!(self.policies.items.iter().count(), 0);
        assert_eq!(self.space.regions.items.iter().count(), 2);
        assert_eq!(self.space.slots.items.iter().count(), 0);
        assert_eq!(self.space.kind_items.iter().count(), 2);
        assert!(self.lists.is_empty());
        assert_eq!(
            (self.rows.iter().count(), self.outcomes.iter().count()),
            (0, 0)
        );
        // The profile that is always there: its rules and its labels.
        let names = self.interner.names.live();
        let always = ocicat_api::policy::Profile::DEFAULT_ALLOW;
        assert_eq!(names, [(always.into(), 2)]);
    }
}
