use ocicat_program::nft::Numbers;

use super::*;

fn constant_row(outcome: u32) -> Arc<Row> {
    Arc::new(Row::constant(OutcomeId(outcome)))
}

fn outcome(verdict: FlowVerdict) -> Arc<Outcome> {
    let decider = Decider::EndOfProfiles;
    Arc::new(Outcome {
        verdict,
        decider,
        passed: vec![],
        logged: vec![],
    })
}

/// A stack whose default row allows, with one class, and an endpoint.
fn small() -> (Compiler, Vec<Change>) {
    let address = LocalAddress {
        address: "10.9.9.9".parse().expect("an address"),
        ingress: StackId(1),
        egress: StackId(1),
    };
    let changes = vec![
        Change::Outcome(OutcomeId(1), Some(outcome(FlowVerdict::Allow))),
        Change::Outcome(OutcomeId(2), Some(outcome(FlowVerdict::Deny))),
        Change::Row(RowId(1), Some(constant_row(1))),
        Change::Row(RowId(2), Some(constant_row(2))),
        Change::Stack(StackId(1), Direction::Ingress, RowId(1)),
        Change::Class("0.0.0.0/0".parse().expect("a prefix"), Some(ClassId(1))),
        Change::Class("10.0.0.1/32".parse().expect("a prefix"), Some(ClassId(1))),
        Change::Endpoint(
            "pod/n/0".into(),
            Some(EndpointPolicy {
                addresses: vec![address],
            }),
        ),
    ];
    let mut compiler = Compiler::new(Config::default());
    let _ = compiler.update(&changes, &attachments());
    (compiler, changes)
}

#[test]
fn a_new_address_of_a_known_class_is_one_element() {
    let (mut compiler, _) = small();
    let change = Change::Class("10.0.0.2/32".parse().expect("a prefix"), Some(ClassId(1)));
    let update = compiler.update(&[change], &[]);
    assert!(update.prepare.is_empty());
    let ops = update.apply;
    let [Op::AddElements { elements, .. }] = &ops[..] else {
        panic!("{ops:?}")
    };
    assert_eq!(elements.len(), 1);
}

#[test]
fn a_changed_default_row_gets_a_stack_of_its_own() {
    let (mut compiler, _) = small();
    let update = compiler.update(
        &[Change::Stack(StackId(1), Direction::Ingress, RowId(2))],
        &[],
    );
    let ops = update.apply;
    let made = update
        .prepare
        .iter()
        .filter(|op| matches!(op, Op::AddChain(_)))
        .count();
    assert_eq!(
        made, 1,
        "the stack in force keeps its meaning for packets in flight"
    );
    assert!(
        !ops.iter()
            .any(|op| matches!(op, Op::FlushChain(_) | Op::DelChain(_)))
    );
    let removed = compiler.collect();
    assert!(removed.iter().any(|op| matches!(op, Op::DelChain(_))));
}

/// The kernel's number of a row.
fn number_of(compiler: &Compiler, row: RowId) -> RowNumber {
    let mut numbers = compiler.rows.iter();
    let found = numbers.find(|(_, placed)| placed.id == row);
    found.expect("a row in the kernel").0
}

/// What an update does to the rows of the first stack's chain.
fn bridged(update: &Update) -> Vec<&Op> {
    let of_old = |op: &&Op| {
        matches!(op, Op::AddNumbers(numbers) | Op::DelNumbers(numbers)
            if numbers.map() == "rows_i0_b")
    };
    update.apply.iter().filter(of_old).collect()
}

/// The old map of the first stack gets the second row for the second class, and nothing else.
fn assert_bridged(compiler: &Compiler, update: &Update) {
    let old = bridged(update);
    let [Op::AddNumbers(numbers)] = old[..] else {
        panic!("{old:?}")
    };
    let row = number_of(compiler, RowId(2));
    let pairs = [crate::stack::pair(ClassId(2), row)];
    assert_eq!(*numbers, Numbers::pairs("rows_i0_b", pairs));
}

#[test]
fn packets_in_the_old_stack_meet_old_verdicts() {
    let (mut compiler, _) = small();
    let row = Change::StackRow(StackId(1), ClassId(1), Some(RowId(2)));
    let _ = compiler.update(&[row], &[]);
    let update = compiler.update(
        &[
            Change::StackRow(StackId(1), ClassId(1), None),
            Change::StackRow(StackId(1), ClassId(2), Some(RowId(2))),
            Change::Class("10.0.0.1/32".parse().expect("a prefix"), Some(ClassId(2))),
        ],
        &[],
    );
    assert!(!update.replace);
    let chains = update
        .prepare
        .iter()
        .filter(|op| matches!(op, Op::AddChain(_)));
    assert_eq!(chains.count(), 1);
    assert_bridged(&compiler, &update);
}

#[test]
fn a_stack_whose_rows_are_old_or_new_to_everybody_keeps_its_chain() {
    let (mut compiler, _) = small();
    let row = Change::StackRow(StackId(1), ClassId(1), Some(RowId(2)));
    let _ = compiler.update(&[row], &[]);
    // Who has read the first class meets the row of now, which is that of the second, too.
    let update = compiler.update(
        &[
            Change::StackRow(StackId(1), ClassId(1), None),
            Change::StackRow(StackId(1), ClassId(2), Some(RowId(1))),
            Change::Class("10.0.0.1/32".parse().expect("a prefix"), Some(ClassId(2))),
        ],
        &[],
    );
    assert!(!update.replace && update.prepare.is_empty(), "{update:?}");
}

#[test]
fn who_leaves_a_stack_that_changes_meets_its_old_rows() {
    let (mut compiler, _) = small();
    let stack = Change::Stack(StackId(2), Direction::Ingress, RowId(1));
    let _ = compiler.update(&[stack], &[]);
    let local = LocalAddress {
        address: "10.9.9.9".parse().expect("an address"),
        ingress: StackId(2),
        egress: StackId(2),
    };
    let policy = EndpointPolicy {
        addresses: vec![local],
    };
    let update = compiler.update(
        &[
            Change::StackRow(StackId(1), ClassId(1), Some(RowId(2))),
            Change::Endpoint("pod/n/0".into(), Some(policy)),
        ],
        &[],
    );
    assert!(!update.replace && bridged(&update).is_empty(), "{update:?}");
    assert!(!update.prepare.is_empty());
}

#[test]
fn a_removed_stack_knows_classes_that_come_with_its_removal() {
    let (mut compiler, _) = small();
    let row = Change::StackRow(StackId(1), ClassId(1), Some(RowId(2)));
    let _ = compiler.update(&[row], &[]);
    let update = compiler.update(
        &[
            Change::StackRemoved(StackId(1)),
            Change::Class("10.0.0.1/32".parse().expect("a prefix"), Some(ClassId(2))),
        ],
        &[],
    );
    assert!(!update.replace);
    assert_bridged(&compiler, &update);
}

#[test]
fn what_no_row_can_bridge_is_replaced() {
    let (mut compiler, _) = small();
    let other = Change::Class("10.0.0.2/32".parse().expect("a prefix"), Some(ClassId(2)));
    let row = Change::StackRow(StackId(1), ClassId(2), Some(RowId(2)));
    let _ = compiler.update(&[other, row], &[]);
    // The old stack denies class 2 and allows the address that joins it as the stack goes.
    let update = compiler.update(
        &[
            Change::StackRemoved(StackId(1)),
            Change::Class("10.0.0.1/32".parse().expect("a prefix"), Some(ClassId(2))),
        ],
        &[],
    );
    assert!(update.replace);
}

#[test]
fn a_full_map_is_made_anew() {
    let (mut compiler, changes) = small();
    let mut table = Table::default();
    let mut other = Compiler::new(Config::default());
    let _ = other.update(&changes, &attachments());
    table.apply(&other.install(None).ops);
    let _ = compiler.install(None);
    let room = crate::stack::capacity(0);
    let mut made = 0;
    for class in 2..2 * room {
        let row = Change::StackRow(StackId(1), ClassId(class), Some(RowId(2)));
        let update = compiler.update(&[row], &[]);
        let sets = update.prepare.iter().filter_map(|op| match op {
            Op::AddSet(set) => set.size,
            _ => None,
        });
        for size in sets {
            made += 1;
            assert_eq!(class - 2, room, "not before it is full");
            assert!(size > room);
        }
        for ops in [update.prepare, update.apply, compiler.collect()] {
            table.apply(&ops);
        }
    }
    assert_eq!(made, 1);
}

#[test]
fn the_marks_are_the_three_highest_bits_of_the_mask() {
    let config = Config {
        mark_mask: 0x0000_ff00,
        ..Config::default()
    };
    let marks = (config.ended(), config.decided(), config.passed());
    assert_eq!(marks, (0x8000, 0x4000, 0x2000));
}

/// A class more, and rows that differ from the first two in one look-up.
fn with_rows() -> Compiler {
    let (mut compiler, _) = small();
    let more = [
        Change::Row(RowId(3), Some(constant_row(1))),
        Change::StackRow(StackId(1), ClassId(1), Some(RowId(2))),
        Change::StackRow(StackId(1), ClassId(2), Some(RowId(2))),
        Change::Class("10.0.0.2/32".parse().expect("a prefix"), Some(ClassId(2))),
    ];
    let _ = compiler.update(&more, &[]);
    compiler
}

#[test]
fn where_all_leave_a_row_for_another_its_cells_change() {
    let mut compiler = with_rows();
    let number = number_of(&compiler, RowId(2));
    let leave = |class| Change::StackRow(StackId(1), ClassId(class), Some(RowId(3)));
    let gone = Change::Row(RowId(2), None);
    let update = compiler.update(&[leave(1), leave(2), gone], &[]);
    assert!(
        update.prepare.is_empty() && bridged(&update).is_empty(),
        "{update:?}"
    );
    let [Op::DelNumbers(old), Op::AddNumbers(new)] = &update.apply[..] else {
        panic!("{update:?}")
    };
    assert_eq!((old.len(), new.len()), (1, 1));
    assert_eq!(number_of(&compiler, RowId(3)), number);
    assert!(!compiler.has_garbage());
}

#[test]
fn a_row_that_one_class_keeps_stays_as_it_is() {
    let mut compiler = with_rows();
    let number = number_of(&compiler, RowId(2));
    let leave = Change::StackRow(StackId(1), ClassId(1), Some(RowId(3)));
    let update = compiler.update(&[leave], &[]);
    assert_eq!(bridged(&update).len(), 2, "{update:?}");
    assert_eq!(number_of(&compiler, RowId(2)), number);
}

#[test]
fn a_row_that_packets_may_still_be_led_to_stays_as_it_is() {
    let mut compiler = with_rows();
    let number = number_of(&compiler, RowId(2));
    // Nobody has the second class any more; what it led to goes later.
    let update = compiler.update(
        &[
            Change::StackRow(StackId(1), ClassId(1), Some(RowId(3))),
            Change::StackRow(StackId(1), ClassId(2), None),
            Change::Class("10.0.0.2/32".parse().expect("a prefix"), Some(ClassId(1))),
        ],
        &[],
    );
    assert_eq!(number_of(&compiler, RowId(2)), number, "{update:?}");
    assert!(compiler.has_garbage());
}
