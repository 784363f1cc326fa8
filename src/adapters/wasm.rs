//! Runs programs that decide: an interpreter of WebAssembly with nothing of this machine in it.
//!
//! In: a module and an input. Out: what the program wrote and what it cost, or how it ended. The
//! interface and its bounds are [`program`](crate::domain::governance::program)'s; here they are held. What is closed off is closed
//! when the module is validated (floating point, vectors, threads, further memories, start functions,
//! other imports), and what is bounded is bounded by the interpreter (fuel, memory, tables, stack).
//!
//! Each run has a thread of its own: a defect of the interpreter that panics ends the run, not the
//! cycle.

use wasmi::{
    Caller, CompilationMode, Config, CustomFuelCosts, EnforcedLimits, Engine, Error, Extern, ExternType,
    Linker, Memory, Module, Store, StoreLimits, StoreLimitsBuilder, TrapCode, TypedFunc,
};

use crate::domain::governance::program::{
    Execution, Executor, FUEL, Fault, IMPORTS, MAX_INPUT, MAX_MEMORY, MAX_MODULE, MAX_OUTPUT,
};
use crate::domain::text;

/// The interpreter and the version that counts fuel and stack so.
const ENGINE: &str = "wasmi 2.0";

/// Bytes copied for one unit of fuel.
const BYTES_PER_FUEL: u32 = 64;

/// Most elements of a table.
const TABLE: usize = 10_000;

/// Deepest nesting of calls.
const CALLS: usize = 1000;

/// Highest stack of values, in bytes.
const STACK: usize = 1 << 20;

/// Runs programs in this process.
#[derive(Debug, Clone, Copy, Default)]
pub struct Interpreter;

impl Executor for Interpreter {
    fn engine(&self) -> &'static str {
        ENGINE
    }

    fn execute(&self, module: &[u8], input: &[u8]) -> Result<Execution, Fault> {
        if input.len() > MAX_INPUT {
            return Err(Fault::InputTooLarge(input.len()));
        }
        if module.len() > MAX_MODULE {
            let length = module.len();
            return Err(Fault::NotAProgram(format!("it has {length} bytes, and may have {MAX_MODULE}")));
        }
        std::thread::scope(|scope| {
            let ran = scope.spawn(|| run(module, input)).join();
            ran.unwrap_or_else(|_| {
                let why = "the interpreter gave up on it".to_owned();
                Err(Fault::Trapped { why, fuel: 0 })
            })
        })
    }
}

/// What a run has beside the module.
struct Host<'a> {
    input: &'a [u8],
    output: Vec<u8>,
    limits: StoreLimits,
}

fn run(module: &[u8], input: &[u8]) -> Result<Execution, Fault> {
    let engine = Engine::new(&config());
    let no_program = |error: Error| Fault::NotAProgram(said(&error));
    let module = Module::new(&engine, module).map_err(no_program)?;
    fits(&module)?;
    let limits = StoreLimitsBuilder::new()
        .memory_size(MAX_MEMORY)
        .table_elements(TABLE)
        .instances(1)
        .memories(1)
        .tables(1)
        .build();
    let mut store = Store::new(&engine, Host { input, output: Vec::new(), limits });
    store.limiter(|host| &mut host.limits);
    let ended = |store: &Store<Host<'_>>, error: &Error| {
        if error.as_trap_code() == Some(TrapCode::OutOfFuel) {
            return Fault::OutOfFuel;
        }
        let fuel = FUEL.saturating_sub(store.get_fuel().unwrap_or(0));
        Fault::Trapped { why: said(error), fuel }
    };
    store.set_fuel(FUEL).map_err(no_program)?;
    let linker = linker(&engine).map_err(no_program)?;
    let instance = match linker.instantiate_and_start(&mut store, &module) {
        Ok(instance) => instance,
        Err(error) => return Err(ended(&store, &error)),
    };
    let decide: TypedFunc<(), ()> = instance.get_typed_func(&store, "decide").map_err(no_program)?;
    match decide.call(&mut store, ()) {
        Ok(()) => {
            let fuel = FUEL.saturating_sub(store.get_fuel().map_err(no_program)?);
            Ok(Execution { output: store.into_data().output, fuel })
        }
        Err(error) => Err(ended(&store, &error)),
    }
}

/// WebAssembly without anything that differs between machines or has no bound.
fn config() -> Config {
    let mut config = Config::default();
    config
        .consume_fuel(true)
        // Whole modules are translated before they run, so that translating is bounded by their size.
        .fuel_cost(CustomFuelCosts {
            bytes_copied_per_fuel: BYTES_PER_FUEL,
            fuel_per_bytes_translated: 0,
            fuel_per_bytes_validated: 0,
        })
        .compilation_mode(CompilationMode::Eager)
        .enforced_limits(EnforcedLimits::strict())
        .ignore_custom_sections(true)
        .allow_start_fn(false)
        .set_max_recursion_depth(CALLS)
        .set_max_stack_height(STACK)
        .set_max_cached_stacks(0)
        .floats(false)
        .wasm_saturating_float_to_int(false)
        .wasm_multi_memory(false)
        .wasm_tail_call(false)
        .wasm_extended_const(false)
        .wasm_custom_page_sizes(false)
        .wasm_wide_arithmetic(false);
    config
}

/// The imports and exports that the interface has, and no others.
fn fits(module: &Module) -> Result<(), Fault> {
    let named = |name: &str| text::quoted(&text::clipped(name, 100));
    for import in module.imports() {
        let known = ["input_len", "input_read", "output_write"].contains(&import.name());
        if import.module() != IMPORTS || !known {
            let (module, name) = (named(import.module()), named(import.name()));
            return Err(Fault::NotAProgram(format!("it imports {name} from {module}, which is not there")));
        }
    }
    match module.get_export("decide") {
        Some(ExternType::Func(decide)) if decide.params().is_empty() && decide.results().is_empty() => {}
        _ => {
            let why = "it exports no function decide without parameters and results";
            return Err(Fault::NotAProgram(why.to_owned()));
        }
    }
    match module.get_export("memory") {
        Some(ExternType::Memory(_)) => Ok(()),
        _ => Err(Fault::NotAProgram("it exports no memory".to_owned())),
    }
}

/// The functions of the interface.
fn linker<'a>(engine: &Engine) -> Result<Linker<Host<'a>>, Error> {
    let mut linker = Linker::<Host<'a>>::new(engine);
    linker.func_wrap(IMPORTS, "input_len", |caller: Caller<'_, Host<'a>>| {
        u32::try_from(caller.data().input.len()).map_err(|_| Error::new("the input is too large"))
    })?;
    linker.func_wrap(
        IMPORTS,
        "input_read",
        |mut caller: Caller<'_, Host<'a>>, to: u32, from: u32, len: u32| {
            pay(&mut caller, len)?;
            let (memory, input) = (memory(&caller)?, caller.data().input);
            let part = part(input, from, len).ok_or_else(|| Error::new("it read beyond the input"))?;
            let to = usize::try_from(to).map_err(|_| Error::new("it read to beyond its memory"))?;
            memory.write(&mut caller, to, part).map_err(|_| Error::new("it read to beyond its memory"))
        },
    )?;
    linker.func_wrap(IMPORTS, "output_write", |mut caller: Caller<'_, Host<'a>>, at: u32, len: u32| {
        pay(&mut caller, len)?;
        let memory = memory(&caller)?;
        let (memory, host) = memory.data_and_store_mut(&mut caller);
        let part = part(memory, at, len).ok_or_else(|| Error::new("it wrote from beyond its memory"))?;
        if host.output.len() + part.len() > MAX_OUTPUT {
            return Err(Error::new(format!("it wrote more than {MAX_OUTPUT} bytes")));
        }
        host.output.extend_from_slice(part);
        Ok(())
    })?;
    Ok(linker)
}

fn part(bytes: &[u8], from: u32, len: u32) -> Option<&[u8]> {
    let from = usize::try_from(from).ok()?;
    bytes.get(from..from.checked_add(usize::try_from(len).ok()?)?)
}

fn memory(caller: &Caller<'_, Host<'_>>) -> Result<Memory, Error> {
    caller.get_export("memory").and_then(Extern::into_memory).ok_or_else(|| Error::new("it has no memory"))
}

/// Take the fuel for copying.
fn pay(caller: &mut Caller<'_, Host<'_>>, bytes: u32) -> Result<(), Error> {
    let left = caller.get_fuel()?.checked_sub(u64::from(bytes / BYTES_PER_FUEL));
    caller.set_fuel(left.ok_or_else(|| Error::from(TrapCode::OutOfFuel))?)
}

/// What the interpreter says, for people.
fn said(error: &Error) -> String {
    text::clipped(&text::inert(&error.to_string()), 300)
}

#[cfg(test)]
mod tests;
