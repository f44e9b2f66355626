import { readdir, rmdir } from 'node:fs/promises'
import { join } from 'node:path'

const CGROUPS = '/sys/fs/cgroup'

/** Removes a control group and those below it from every hierarchy, of both versions. One with a process in it stays. */
export async function removeCgroup(name: string): Promise<void> {
  for (const at of [CGROUPS, ...(await folders(CGROUPS)).map((hierarchy) => join(CGROUPS, hierarchy))]) await removeTree(join(at, name))
}

async function removeTree(path: string): Promise<void> {
  for (const child of await folders(path)) await removeTree(join(path, child))
  await rmdir(path).catch(() => {})
}

async function folders(path: string): Promise<string[]> {
  const entries = await readdir(path, { withFileTypes: true }).catch(() => [])
  return entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name)
}
