import type { Machine } from '@cni-offload/linux/machine'

/** Names and ids of what is there, and of what is to be seen instead. */
export interface Disguise {
  /** Drivers. */
  readonly drivers: Readonly<Record<string, string>>
  /** PCI ids, vendors and devices, as sysfs writes them. */
  readonly ids: Readonly<Record<string, string>>
}

/**
 * A machine whose cards look like others, for a backend that takes only its own: everything but the names is what the kernel says and does.
 */
export function disguised(machine: Machine, { drivers, ids }: Disguise): Machine {
  const real = Object.fromEntries(Object.entries(drivers).map(([is, seen]) => [seen, is]))
  const inside = (path: string): string =>
    path.replace(/^(\/sys\/bus\/pci\/drivers\/)([^/]+)/, (_, at, name) => `${at}${real[name] ?? name}`)
  return {
    ...machine,
    async read(path) {
      const text = await machine.read(inside(path))
      return /\/(vendor|device)$/.test(path) ? `${ids[text.trim()] ?? text.trim()}\n` : text
    },
    async readlink(path) {
      const target = await machine.readlink(inside(path))
      return path.endsWith('/driver') ? target.replace(/[^/]+$/, (name) => drivers[name] ?? name) : target
    },
    list: async (path) => await machine.list(inside(path)),
    write: async (path, text) => await machine.write(inside(path), real[text] ?? text),
  }
}
