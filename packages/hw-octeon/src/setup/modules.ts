import { OffloadError } from '@cni-offload/sdk'
import type { Machine } from '@cni-offload/linux/machine'
import { hasDriver } from '@cni-offload/linux/pci'
import type { ModuleChange } from './change.ts'
import { runCommand } from './command.ts'
import type { ChangeKind } from './kind.ts'

/** A module that is loaded. */
interface LoadedModule {
  readonly name: string
  /** Modules that need it. */
  readonly neededBy: readonly string[]
}

const FILE = '/proc/modules'

/** Modules that are loaded. @throws OffloadError HARDWARE_FAILURE if the file is not as the kernel writes it */
export async function loadedModules(machine: Machine): Promise<LoadedModule[]> {
  const lines = (await machine.read(FILE)).split('\n').filter((line) => line !== '')
  return lines.map((line) => {
    const [, name, users] = /^(\S+) \d+ \S+ (\S+) /.exec(line) ?? []
    if (name === undefined || users === undefined)
      throw new OffloadError('HARDWARE_FAILURE', `${FILE}: ${JSON.stringify(line)} is no line of it`)
    return { name, neededBy: users.split(',').filter((user) => user !== '' && user !== '-' && user !== '[permanent]') }
  })
}

/** How the kernel writes the name of a module. */
const spelled = (name: string): string => name.replaceAll('-', '_')

/**
 * The change that loads a module, none if it is loaded.
 *
 * @param driver - PCI driver that it brings, which may also be a part of the kernel
 */
export async function planModule(machine: Machine, name: string, driver?: string): Promise<ModuleChange[]> {
  const before = (await loadedModules(machine)).map((module) => module.name)
  if (before.includes(spelled(name)) || (driver !== undefined && (await hasDriver(machine, driver)))) return []
  return [{ kind: 'module', name, before, brought: [] }]
}

/** Loading a module. What it brings with it goes with it. */
export const moduleKind: ChangeKind<ModuleChange> = {
  edits: ({ name }) => [{ command: `modprobe ${name}` }],
  undoEdits: ({ name }) => [{ command: `rmmod ${spelled(name)} and the modules that came with it` }],
  async apply({ name }, site) {
    await runCommand(site, ['modprobe', name], 'Install the modules of the running kernel (uname -r) that have it.')
  },
  async undo(change, site, keep) {
    const { name, before, brought } = change
    const found = related([spelled(name), ...brought], await loadedModules(site.machine), new Set(before))
    // Who came with a module cannot be told any more when that module is gone.
    if (found.some((module) => !brought.includes(module))) await keep({ ...change, brought: found })
    for (const module of found) await runCommand(site, ['rmmod', module], 'Stop what uses it; lsmod says which modules do.')
    return found.length === 0 ? 'nothing' : 'undone'
  },
}

/** Those of some modules that are loaded and were not before, and their neighbours likewise; those first that nobody else of them needs. */
function related(seeds: readonly string[], loaded: readonly LoadedModule[], before: ReadonlySet<string>): string[] {
  const fresh = new Map(loaded.filter((module) => !before.has(module.name)).map((module) => [module.name, module]))
  const usersOf = (name: string): readonly string[] => fresh.get(name)?.neededBy ?? []
  const found = new Set(seeds.filter((seed) => fresh.has(seed)))
  for (const one of found) {
    const neighbours = [...usersOf(one), ...[...fresh.keys()].filter((other) => usersOf(other).includes(one))]
    for (const neighbour of neighbours) if (fresh.has(neighbour)) found.add(neighbour)
  }
  const order: string[] = []
  const rest = new Set(found)
  while (rest.size > 0) {
    // If one is needed by a module of before by now, the attempt to remove it says so.
    const next = [...rest].find((one) => usersOf(one).every((user) => !rest.has(user))) ?? [...rest][0] ?? ''
    order.push(next)
    rest.delete(next)
  }
  return order
}
