//! Finds the shim, the module that uses it, and the fixup in a component.

use std::collections::HashMap;

use wasmparser::{
    ComponentAlias, ComponentOuterAliasKind, ElementItems, ElementKind, ExternalKind, FuncType,
    Instance, Operator, Parser, Payload, TableType, TypeRef,
};

use super::TABLE;

/// The roles of a component's parts. Indices are those of the component as built.
pub(super) struct Shape<'a> {
    pub(super) shim: u32,
    pub(super) shim_module: u32,
    /// The core functions that are exports of the shim.
    pub(super) shim_funcs: Vec<u32>,
    pub(super) main: u32,
    pub(super) main_module: u32,
    /// The imports of main from the shim: module, name and the slot that is called.
    pub(super) folded: HashMap<(&'a str, &'a str), u32>,
    /// The length of main's table.
    pub(super) table_len: u32,
    pub(super) fixup_module: u32,
    /// The type of the function in each slot.
    pub(super) slots: Vec<FuncType>,
}

/// The core index spaces of a component's outermost level.
#[derive(Default)]
struct Spaces<'a> {
    modules: Vec<&'a [u8]>,
    instances: Vec<Instance<'a>>,
    funcs: Vec<Option<(u32, &'a str)>>,
    tables: Vec<Option<(u32, &'a str)>>,
}

impl<'a> Spaces<'a> {
    fn of(bytes: &'a [u8]) -> Option<Spaces<'a>> {
        let mut spaces = Spaces::default();
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload.ok()? {
                Payload::ModuleSection { unchecked_range, .. } => {
                    if depth == 0 {
                        spaces.modules.push(bytes.get(unchecked_range)?);
                    }
                    depth += 1;
                }
                Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentAliasSection(aliases) => {
                    for alias in aliases {
                        spaces.alias(alias.ok()?, depth)?;
                    }
                }
                Payload::InstanceSection(instances) if depth == 0 => {
                    for instance in instances {
                        spaces.instances.push(instance.ok()?);
                    }
                }
                Payload::ComponentCanonicalSection(functions) if depth == 0 => {
                    for function in functions {
                        if !matches!(function.ok()?, wasmparser::CanonicalFunction::Lift { .. }) {
                            spaces.funcs.push(None);
                        }
                    }
                }
                _ => {}
            }
        }
        Some(spaces)
    }

    fn alias(&mut self, alias: ComponentAlias<'a>, depth: u32) -> Option<()> {
        match alias {
            // A module that an inner component takes from outside would have another index.
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::CoreModule, .. } => return None,
            ComponentAlias::CoreInstanceExport { kind, instance_index, name } if depth == 0 => {
                let source = Some((instance_index, name));
                match kind {
                    ExternalKind::Func => self.funcs.push(source),
                    ExternalKind::Table => self.tables.push(source),
                    _ => {}
                }
            }
            _ => {}
        }
        Some(())
    }

    fn instantiated(&self) -> impl Iterator<Item = (u32, u32, HashMap<&'a str, u32>)> {
        (0..).zip(&self.instances).filter_map(|(index, instance)| match instance {
            Instance::Instantiate { module_index, args } => {
                let args = args.iter().map(|arg| (arg.name, arg.index)).collect();
                Some((index, *module_index, args))
            }
            Instance::FromExports(_) => None,
        })
    }

    fn exports(&self, instance: u32) -> &[wasmparser::Export<'a>] {
        match self.instances.get(instance as usize) {
            Some(Instance::FromExports(exports)) => exports,
            _ => &[],
        }
    }

    /// The slot that a core function of the component calls, if it is the shim's.
    fn slot(&self, func: u32, shim: u32) -> Option<u32> {
        let (instance, name) = (*self.funcs.get(func as usize)?)?;
        (instance == shim).then(|| name.parse().ok())?
    }
}

impl<'a> Shape<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Option<Shape<'a>> {
        let spaces = Spaces::of(bytes)?;
        let module = |index: u32| spaces.modules.get(index as usize).copied();
        let all: Vec<_> = spaces.instantiated().collect();
        let mut shims = all.iter().filter(|(_, index, args)| {
            args.is_empty() && module(*index).is_some_and(|bytes| shim_len(bytes).is_some())
        });
        let (Some(&(shim, shim_module, _)), None) = (shims.next(), shims.next()) else {
            return None;
        };
        let len = shim_len(module(shim_module)?)?;
        let is_table = |export: &wasmparser::Export<'_>| {
            export.name == TABLE
                && export.kind == ExternalKind::Table
                && spaces.tables.get(export.index as usize) == Some(&Some((shim, TABLE)))
        };
        let (_, fixup_module, _) = all.iter().find(|(_, _, args)| {
            args.len() == 1 && args.get("").is_some_and(|&i| spaces.exports(i).iter().any(is_table))
        })?;
        let slots = fixup_slots(module(*fixup_module)?, len)?;
        let mut users = all.iter().filter_map(|(instance, index, args)| {
            let folded = uses(&spaces, args, shim);
            (!folded.is_empty()).then_some((*instance, *index, folded))
        });
        let (Some((main, main_module, folded)), None) = (users.next(), users.next()) else {
            return None;
        };
        let shim_funcs = (0..)
            .zip(&spaces.funcs)
            .filter(|(_, source)| source.is_some_and(|(instance, _)| instance == shim))
            .map(|(index, _)| index)
            .collect();
        let modules = [shim_module, main_module, *fixup_module];
        // Each of them is instantiated once.
        let once = |index: &u32| all.iter().filter(|(_, other, _)| other == index).count() == 1;
        if !modules.iter().all(once) || folded.values().any(|&slot| slot >= len) {
            return None;
        }
        let table_len = table_len(module(main_module)?)?;
        table_len.checked_add(len)?;
        Some(Shape {
            shim,
            shim_module,
            shim_funcs,
            main,
            main_module,
            folded,
            table_len,
            fixup_module: *fixup_module,
            slots,
        })
    }
}

fn uses<'a>(
    spaces: &Spaces<'a>,
    args: &HashMap<&'a str, u32>,
    shim: u32,
) -> HashMap<(&'a str, &'a str), u32> {
    args.iter()
        .flat_map(|(module, &instance)| {
            let exports = spaces.exports(instance).iter();
            let funcs = exports.filter(|export| export.kind == ExternalKind::Func);
            funcs.filter_map(move |export| {
                Some(((*module, export.name), spaces.slot(export.index, shim)?))
            })
        })
        .collect()
}

/// The number of slots of a shim: a table, and one function for each slot that calls it with its
/// own parameters.
fn shim_len(module: &[u8]) -> Option<u32> {
    let (mut len, mut exports, mut bodies) = (0, Vec::new(), 0);
    for payload in Parser::new(0).parse_all(module) {
        match payload.ok()? {
            Payload::TableSection(tables) => {
                let mut tables = tables.into_iter();
                len = fixed(&tables.next()?.ok()?.ty)?;
                if tables.next().is_some() {
                    return None;
                }
            }
            Payload::ExportSection(section) => {
                exports = section.into_iter().collect::<Result<Vec<_>, _>>().ok()?;
            }
            Payload::CodeSectionEntry(body) => {
                if !calls_slot(&body, bodies) {
                    return None;
                }
                bodies += 1;
            }
            Payload::ImportSection(_)
            | Payload::MemorySection(_)
            | Payload::GlobalSection(_)
            | Payload::ElementSection(_)
            | Payload::DataSection(_)
            | Payload::StartSection { .. } => return None,
            _ => {}
        }
    }
    let named = exports.iter().all(|export| match export.kind {
        ExternalKind::Func => export.name.parse() == Ok(export.index),
        ExternalKind::Table => export.name == TABLE && export.index == 0,
        _ => false,
    });
    (named && len == bodies && len > 0).then_some(len)
}

fn calls_slot(body: &wasmparser::FunctionBody<'_>, slot: u32) -> bool {
    let locals = body.get_locals_reader().is_ok_and(|locals| locals.get_count() == 0);
    let Ok(operators) = body.get_operators_reader() else { return false };
    let Ok(operators) = operators.into_iter().collect::<Result<Vec<_>, _>>() else { return false };
    let [
        gets @ ..,
        Operator::I32Const { value },
        Operator::CallIndirect { table_index: 0, .. },
        Operator::End,
    ] = &operators[..]
    else {
        return false;
    };
    let in_order = (0..).zip(gets).all(
        |(index, get)| matches!(get, Operator::LocalGet { local_index } if *local_index == index),
    );
    locals && in_order && u32::try_from(*value) == Ok(slot)
}

/// The types of what a fixup writes into the table: it imports a function for each slot and the
/// table, and has one segment, nothing else.
fn fixup_slots(module: &[u8], len: u32) -> Option<Vec<FuncType>> {
    let (mut types, mut funcs, mut table, mut written) = (Vec::new(), Vec::new(), None, None);
    for payload in Parser::new(0).parse_all(module) {
        match payload.ok()? {
            Payload::TypeSection(section) => {
                for ty in section.into_iter_err_on_gc_types() {
                    types.push(ty.ok()?);
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    let import = import.ok()?;
                    match import.ty {
                        TypeRef::Func(ty) => funcs.push((import.name.parse::<u32>().ok()?, ty)),
                        TypeRef::Table(ty) => table = fixed(&ty),
                        _ => return None,
                    }
                }
            }
            Payload::ElementSection(segments) => written = segment(segments),
            Payload::Version { .. } | Payload::CustomSection(_) | Payload::End(_) => {}
            _ => return None,
        }
    }
    let written = written.filter(|written| table == Some(len) && written.len() == len as usize)?;
    let slot_type = |(slot, func): (u32, u32)| {
        let (name, ty) = *funcs.get(func as usize)?;
        (name == slot).then(|| types.get(ty as usize).cloned())?
    };
    (0..).zip(written).map(slot_type).collect()
}

/// The functions of the only segment, if it goes to the start of the only table.
fn segment(segments: wasmparser::ElementSectionReader<'_>) -> Option<Vec<u32>> {
    let mut segments = segments.into_iter();
    let (Some(Ok(element)), None) = (segments.next(), segments.next()) else { return None };
    let ElementKind::Active { table_index: None | Some(0), offset_expr } = element.kind else {
        return None;
    };
    let offset: Vec<_> =
        offset_expr.get_operators_reader().into_iter().collect::<Result<_, _>>().ok()?;
    let ElementItems::Functions(items) = element.items else { return None };
    let at_start = matches!(offset[..], [Operator::I32Const { value: 0 }, Operator::End]);
    at_start.then(|| items.into_iter().collect::<Result<_, _>>().ok())?
}

/// The length of a module's only table, if nothing can make it longer and nothing looks at its
/// length.
fn table_len(module: &[u8]) -> Option<u32> {
    let mut len = None;
    for payload in Parser::new(0).parse_all(module) {
        match payload.ok()? {
            Payload::ImportSection(imports) => {
                for import in imports.into_imports() {
                    if matches!(import.ok()?.ty, TypeRef::Table(_)) {
                        return None;
                    }
                }
            }
            Payload::TableSection(tables) => {
                let mut tables = tables.into_iter();
                len = Some(fixed(&tables.next()?.ok()?.ty)?);
                if tables.next().is_some() {
                    return None;
                }
            }
            Payload::ExportSection(exports) => {
                for export in exports {
                    if export.ok()?.name == TABLE {
                        return None;
                    }
                }
            }
            Payload::CodeSectionEntry(body) => {
                for operator in body.get_operators_reader().ok()? {
                    if touches_tables(&operator.ok()?) {
                        return None;
                    }
                }
            }
            _ => {}
        }
    }
    len
}

fn touches_tables(operator: &Operator<'_>) -> bool {
    matches!(
        operator,
        Operator::TableGrow { .. }
            | Operator::TableSize { .. }
            | Operator::TableFill { .. }
            | Operator::TableCopy { .. }
            | Operator::TableInit { .. }
            | Operator::TableGet { .. }
            | Operator::TableSet { .. }
    )
}

fn fixed(table: &TableType) -> Option<u32> {
    let plain =
        table.element_type == wasmparser::RefType::FUNCREF && !table.table64 && !table.shared;
    (plain && table.maximum == Some(table.initial)).then(|| u32::try_from(table.initial).ok())?
}
