import { readdir } from 'node:fs/promises'
import type { LinuxNet, NetnsPath } from '@cni-offload/linux'

/** What exists at one moment, for comparison with another moment. */
export interface LeakSnapshot {
  /** Names under `/run/netns`, sorted. */
  readonly netns: readonly string[]
  /** Link names by namespace path, sorted; a namespace that does not exist has none. */
  readonly links: Readonly<Record<NetnsPath, readonly string[]>>
}

/** Lists named namespaces and the links of some of them. */
export async function leakSnapshot(net: LinuxNet, netns: readonly NetnsPath[]): Promise<LeakSnapshot> {
  const names = await readdir('/run/netns').catch((): string[] => [])
  const links: Record<NetnsPath, readonly string[]> = {}
  for (const path of netns)
    links[path] = (await net.netnsIdentity(path)) === undefined ? [] : (await net.links(path)).map(({ name }) => name).toSorted()
  return { netns: names.toSorted(), links }
}

/**
 * What is in `after` and was not in `before`, as readable lines; empty if nothing leaked. `ownNetns` selects by name which
 * namespaces are looked at, since others may come and go on the same machine.
 */
export function leaks(before: LeakSnapshot, after: LeakSnapshot, ownNetns: (name: string) => boolean = () => true): string[] {
  const namespaces = after.netns.filter((name) => ownNetns(name) && !before.netns.includes(name)).map((name) => `namespace ${name}`)
  const links = Object.entries(after.links).flatMap(([path, names]) =>
    names.filter((name) => !(before.links[path] ?? []).includes(name)).map((name) => `link ${name} in ${path}`),
  )
  return [...namespaces, ...links]
}
