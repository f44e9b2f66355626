import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { nodeEnvironment } from '@cni-offload/sdk/exec'

/**
 * Puts a `cilium-cni` into a folder of plugins that does with a cilium-agent's API what the stock one does.
 *
 * @returns path of the executable
 */
export async function installFakeCiliumCni(folder: string): Promise<string> {
  const path = join(folder, 'cilium-cni')
  const main = fileURLToPath(import.meta.resolve('@cni-offload/testing/cilium/cni'))
  await mkdir(folder, { recursive: true })
  // Plugins get a bare environment, and without compiled code each call would take twice as long.
  const variables = Object.entries(nodeEnvironment()).map(([name, value]) => `${name}='${value}' `)
  await writeFile(path, `#!/bin/sh\n${variables.join('')}exec '${process.execPath}' --disable-warning=ExperimentalWarning '${main}' "$@"\n`)
  await chmod(path, 0o755)
  return path
}
