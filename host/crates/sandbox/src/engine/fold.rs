//! Fewer core instances per component, without changing what it does.
//!
//! A function whose import needs its importer's memory cannot be made before that memory exists,
//! and the importer cannot be made before its imports exist. Tools that make components break the
//! circle with two modules of their own:
//!
//! ```text
//!   as built                                            folded
//!   shim   exports "0".."n": call slot i of a table     main   its table is n slots longer, and what it imported from
//!   main   imports these                                       the shim it has itself: call slot T + i of its table
//!   fixup  writes the real functions into the table     fixup  writes them into main's table, from slot T on
//! ```
//!
//! One thing differs. A call through a slot right behind main's own table trapped as built; in the
//! folded component it reaches an import of main's, if the type fits. Main may call that import
//! anyway.
//!
//! Each core instance costs a fresh sandbox about a microsecond, so the shim is folded into the
//! module that uses it. Only what is exactly of this shape is folded; everything else, and whatever
//! does not validate afterwards, is compiled as it is.

mod module;
mod shape;

use std::convert::Infallible;

use wasm_encoder::{
    Component, ComponentAliasSection, InstanceSection, ModuleSection, RawSection,
    reencode::{Error, Reencode, ReencodeComponent, component_utils},
};
use wasmparser::{
    ComponentAlias, ComponentAliasSectionReader, CustomSectionReader, ExternalKind, Instance,
    Parser,
};

use shape::Shape;

/// Goes into the names of artifacts: another way of folding makes other artifacts.
pub(super) const VERSION: u8 = 1;

/// The name under which the table is exported to the module that fills it.
const TABLE: &str = "$imports";

/// The component with its shim folded in, if it has one of the shape above.
pub fn folded(bytes: &[u8]) -> Option<Vec<u8>> {
    let shape = Shape::of(bytes)?;
    let mut component = Component::new();
    let mut folder = Folder { shape: &shape, modules: 0, instances: 0, lost: false };
    folder.parse_component(&mut component, Parser::new(0), bytes).ok()?;
    (!folder.lost).then(|| component.finish())
}

/// Writes a component again, without its shim.
struct Folder<'a> {
    shape: &'a Shape<'a>,
    /// Core modules and core instances that were read so far.
    modules: u32,
    instances: u32,
    /// Something refers to what is gone.
    lost: bool,
}

type Result<T = ()> = std::result::Result<T, Error<Infallible>>;

impl Folder<'_> {
    fn without(&mut self, index: u32, gone: u32) -> u32 {
        self.lost |= index == gone;
        index - u32::from(index > gone)
    }
}

impl Reencode for Folder<'_> {
    type Error = Infallible;

    /// Of core functions; the shim's are gone.
    fn function_index(&mut self, func: u32) -> Result<u32> {
        let gone = &self.shape.shim_funcs;
        self.lost |= gone.contains(&func);
        let before = gone.iter().filter(|&&gone| gone < func).count();
        Ok(func - u32::try_from(before).unwrap_or(0))
    }
}

impl ReencodeComponent for Folder<'_> {
    fn module_index(&mut self, module: u32) -> u32 {
        self.without(module, self.shape.shim_module)
    }

    fn instance_index(&mut self, instance: u32) -> u32 {
        self.without(instance, self.shape.shim)
    }

    fn parse_component_submodule(
        &mut self,
        component: &mut Component,
        _: Parser,
        module: &[u8],
    ) -> Result {
        let index = self.modules;
        self.modules += 1;
        if index == self.shape.main_module {
            component.section(&ModuleSection(&module::with_trampolines(self.shape, module)?));
        } else if index == self.shape.fixup_module {
            component.section(&ModuleSection(&module::fixup(self.shape)?));
        } else if index != self.shape.shim_module {
            raw(component, wasm_encoder::ComponentSectionId::CoreModule, module);
        }
        Ok(())
    }

    /// Components inside have index spaces of their own, which `Shape` has seen to be without ties
    /// to ours.
    fn parse_component_subcomponent(
        &mut self,
        component: &mut Component,
        _: Parser,
        inner: &[u8],
        _: &[u8],
    ) -> Result {
        raw(component, wasm_encoder::ComponentSectionId::Component, inner);
        Ok(())
    }

    fn parse_instance(
        &mut self,
        instances: &mut InstanceSection,
        instance: Instance<'_>,
    ) -> Result {
        let index = self.instances;
        self.instances += 1;
        if index == self.shape.shim {
            return Ok(());
        }
        let Instance::FromExports(exports) = &instance else {
            return component_utils::parse_instance(self, instances, instance);
        };
        let kept = exports.iter().filter(|export| {
            export.kind != ExternalKind::Func || !self.shape.shim_funcs.contains(&export.index)
        });
        component_utils::parse_instance(
            self,
            instances,
            Instance::FromExports(kept.cloned().collect()),
        )
    }

    fn parse_component_alias_section(
        &mut self,
        aliases: &mut ComponentAliasSection,
        section: ComponentAliasSectionReader<'_>,
    ) -> Result {
        for alias in section {
            let alias = match alias? {
                ComponentAlias::CoreInstanceExport { kind, instance_index, .. }
                    if instance_index == self.shape.shim =>
                {
                    if kind == ExternalKind::Func {
                        continue;
                    }
                    let instance_index = self.shape.main;
                    ComponentAlias::CoreInstanceExport { kind, instance_index, name: TABLE }
                }
                alias => alias,
            };
            aliases.alias(self.component_alias(alias)?);
        }
        Ok(())
    }

    /// Names go by index, and those of a component are never read.
    fn parse_component_custom_section(
        &mut self,
        _: &mut Component,
        _: CustomSectionReader<'_>,
    ) -> Result {
        Ok(())
    }
}

fn raw(component: &mut Component, id: wasm_encoder::ComponentSectionId, data: &[u8]) {
    component.section(&RawSection { id: id.into(), data });
}

#[cfg(test)]
mod tests;
