//! The tree of a pattern, in which no alternative shares an object with a field beside it.
//!
//! Fields below one array of objects have to hold in one element. Fields that look into one object
//! are therefore tested together: where an alternative of `$or` and a field beside it have the same
//! name, the field moves into each alternative.

use super::{MAX_PATTERN_FIELDS, value_test::ValueTests};

/// Fields that all hold, and choices of which each has an alternative that holds.
#[derive(Clone, Debug, Default)]
pub(super) struct Object {
    pub(super) fields: Vec<Field>,
    pub(super) choices: Vec<Vec<Object>>,
    /// Whether an event without any of the fields matches.
    pub(super) may_be_absent: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Field {
    pub(super) name: Box<str>,
    pub(super) test: Test,
}

#[derive(Clone, Debug)]
pub(super) enum Test {
    Leaf(Leaf),
    Within(Object),
}

/// Tests of which one holds for a leaf.
#[derive(Clone, Debug, Default)]
pub(super) struct Leaf {
    pub(super) values: ValueTests,
    /// Whether the leaf may be absent.
    pub(super) absent: bool,
}

/// Why two objects do not come together.
#[derive(Debug)]
pub(super) enum Clash {
    /// A leaf has its tests twice. Holds the names of its path, the last one first.
    Twice(Vec<Box<str>>),
    /// More than [`MAX_PATTERN_FIELDS`] fields.
    TooMany,
}

/// The fields that may still be copied.
pub(super) struct Room(usize);

impl Default for Room {
    fn default() -> Room {
        Room(MAX_PATTERN_FIELDS)
    }
}

impl Room {
    fn take(&mut self, fields: usize) -> Result<(), Clash> {
        self.0 = self.0.checked_sub(fields).ok_or(Clash::TooMany)?;
        Ok(())
    }
}

impl Test {
    pub(super) fn may_be_absent(&self) -> bool {
        match self {
            Test::Leaf(leaf) => leaf.absent,
            Test::Within(object) => object.may_be_absent,
        }
    }

    /// Whether both look into an object, or both at a leaf.
    fn is_like(&self, other: &Test) -> bool {
        matches!((self, other), (Test::Leaf(_), Test::Leaf(_)) | (Test::Within(_), Test::Within(_)))
    }

    fn and(self, other: Test, room: &mut Room) -> Result<Test, Clash> {
        match (self, other) {
            (Test::Within(one), Test::Within(other)) => one.and(other, room).map(Test::Within),
            _ => Err(Clash::Twice(Vec::new())),
        }
    }
}

impl Field {
    /// Whether both are tested together: leaves or objects of one name.
    fn meets(&self, other: &Field) -> bool {
        self.name == other.name && self.test.is_like(&other.test)
    }

    /// Adds the field to fields that all hold.
    fn join(self, fields: &mut Vec<Field>, room: &mut Room) -> Result<(), Clash> {
        match fields.iter().position(|field| field.meets(&self)) {
            None => fields.push(self),
            Some(at) => {
                let Field { name, test } = fields.swap_remove(at);
                let test = test.and(self.test, room).map_err(|clash| clash.below(&name))?;
                fields.push(Field { name, test });
            }
        }
        Ok(())
    }
}

impl Clash {
    fn below(mut self, name: &str) -> Clash {
        if let Clash::Twice(path) = &mut self {
            path.push(name.into());
        }
        self
    }
}

impl Object {
    pub(super) fn new(
        mut fields: Vec<Field>,
        mut choices: Vec<Vec<Object>>,
        room: &mut Room,
    ) -> Result<Object, Clash> {
        for choice in &mut choices {
            let meets = |field: &mut Field| mentions(choice, field);
            let shared: Vec<Field> = fields.extract_if(.., meets).collect();
            if !shared.is_empty() {
                let beside = Object { fields: shared, ..Object::default() };
                *choice = products(std::mem::take(choice), &[beside], room)?;
            }
        }
        let mut apart: Vec<Vec<Object>> = Vec::with_capacity(choices.len());
        for mut choice in choices {
            while let Some(at) = apart.iter().position(|other| meet(&choice, other)) {
                choice = products(choice, &apart.swap_remove(at), room)?;
            }
            apart.push(choice);
        }
        let fields_may = fields.iter().all(|field| field.test.may_be_absent());
        let choices_may = apart.iter().all(|choice| choice.iter().any(|one| one.may_be_absent));
        Ok(Object { fields, choices: apart, may_be_absent: fields_may && choices_may })
    }

    /// An object that holds where both do.
    fn and(self, other: Object, room: &mut Room) -> Result<Object, Clash> {
        room.take(self.size() + other.size())?;
        let Object { mut fields, mut choices, .. } = self;
        choices.extend(other.choices);
        for field in other.fields {
            field.join(&mut fields, room)?;
        }
        Object::new(fields, choices, room)
    }

    fn size(&self) -> usize {
        let fields = self.fields.iter().map(|field| match &field.test {
            Test::Leaf(_) => 1,
            Test::Within(object) => 1 + object.size(),
        });
        fields.sum::<usize>() + self.choices.iter().flatten().map(Object::size).sum::<usize>()
    }
}

/// Whether an alternative has a field that is tested together with `field`.
fn mentions(choice: &[Object], field: &Field) -> bool {
    choice.iter().any(|object| {
        object.fields.iter().any(|other| other.meets(field))
            || object.choices.iter().any(|choice| mentions(choice, field))
    })
}

/// Whether two choices have fields that are tested together.
fn meet(choice: &[Object], other: &[Object]) -> bool {
    other.iter().any(|object| {
        object.fields.iter().any(|field| mentions(choice, field))
            || object.choices.iter().any(|other| meet(choice, other))
    })
}

/// Each of some alternatives with each of others.
fn products(ones: Vec<Object>, others: &[Object], room: &mut Room) -> Result<Vec<Object>, Clash> {
    let mut products = Vec::new();
    for one in ones {
        for other in others {
            products.push(one.clone().and(other.clone(), room)?);
        }
    }
    Ok(products)
}
