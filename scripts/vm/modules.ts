/** A module of a kernel, as it can be loaded. */
export interface KernelModule {
  /** Name, with `_`. */
  readonly name: string
  /** The file, unpacked. */
  readonly data: Buffer
}

/** Reads a module; `builtin` if it is in the kernel already, undefined if this kernel does not have it. */
export type ReadModule = (name: string) => Promise<KernelModule | 'builtin' | undefined>

const NEEDS = Buffer.from('\0depends=')

/** The name of the module in a file. The kernel takes `-` and `_` for the same; files have either. */
export function moduleName(file: string): string {
  const base = file.slice(file.lastIndexOf('/') + 1)
  return base.replace(/\.ko(\.(xz|zst|gz))?$/, '').replaceAll('-', '_')
}

/** Names of the modules that a module says it needs: what `depmod` makes its list of. @throws Error if it is no module */
export function neededBy({ name, data }: KernelModule): string[] {
  const at = data.indexOf(NEEDS)
  if (at < 0) throw new Error(`${name}: no module of a kernel: it does not say what it needs`)
  const from = at + NEEDS.length
  return data.toString('latin1', from, data.indexOf(0, from)).split(',').filter(Boolean).map(moduleName)
}

/**
 * Modules in an order in which they can be loaded: each after those that it needs, none twice, and those of the kernel itself left out.
 *
 * @throws Error that names a module that this kernel does not have, or a circle
 */
export async function loadOrder(read: ReadModule, wanted: readonly string[]): Promise<KernelModule[]> {
  const ordered = new Map<string, KernelModule>()
  const visit = async (name: string, path: readonly string[]): Promise<void> => {
    if (path.includes(name)) throw new Error(`modules need each other: ${[...path, name].join(' → ')}`)
    if (ordered.has(name)) return
    const module = await read(name)
    if (module === 'builtin') return
    if (module === undefined) throw new Error(`the kernel has no module ${[name, ...path.toReversed()].join(', needed by ')}`)
    for (const need of neededBy(module)) await visit(need, [...path, name])
    ordered.set(name, module)
  }
  for (const name of wanted) await visit(moduleName(name), [])
  return [...ordered.values()]
}
