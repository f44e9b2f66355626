import { readdir } from 'node:fs/promises'
import { basename, dirname } from 'node:path'
import { inspectInstallation, type InstalledState } from '@cni-offload/host/install'
import { runChild } from '@cni-offload/sdk/exec'
import { type Check, fail, type Finding, ok } from '../check.ts'

/** What a runtime takes for a network configuration. */
const CONFIGURATION = /\.(conf|conflist|json)$/

const REINSTALL = 'Run "offload install --network NAME" again.'

/** Whether what `offload install` has put there is there, can be executed, and is what the runtime takes. */
export function installationChecks(stateDir: string): readonly Check[] {
  const files = async (): Promise<readonly InstalledState[]> => await inspectInstallation({ stateDir })
  return [
    {
      id: 'host.shim',
      title: 'the CNI executable is installed and runs',
      run: async (signal) =>
        await shimFinding(
          (await files()).find(({ path }) => !CONFIGURATION.test(path)),
          stateDir,
          signal,
        ),
    },
    {
      id: 'host.conflist',
      title: "the network configuration is installed and the runtime's first",
      run: async () =>
        await conflistFinding(
          (await files()).find(({ path }) => CONFIGURATION.test(path)),
          stateDir,
        ),
    },
  ]
}

async function shimFinding(shim: InstalledState | undefined, stateDir: string, signal: AbortSignal): Promise<Finding> {
  if (shim === undefined) return notInstalled(stateDir)
  if (shim.state === 'absent') return fail(`${shim.path} is gone`, 'the runtime finds no plugin of this name: every ADD fails', REINSTALL)
  if (!shim.executable) return fail(`${shim.path} is not executable`, 'every ADD fails', REINSTALL)
  // Asked, not only looked at: one for another processor is executable, too.
  const asked = await runChild({ argv: [shim.path], env: { CNI_COMMAND: 'VERSION' }, stdin: '{"cniVersion":"1.0.0"}' }, signal)
  if (asked.exitCode !== 0)
    return fail(
      `${shim.path} exits with ${asked.exitCode ?? asked.exitSignal}`,
      `it does not answer VERSION: ${asked.stdout}${asked.stderr}`,
      REINSTALL,
    )
  if (shim.state === 'changed') return fail(`${shim.path} is another file`, 'it was changed since it was installed', REINSTALL)
  return ok(shim.path)
}

async function conflistFinding(conflist: InstalledState | undefined, stateDir: string): Promise<Finding> {
  if (conflist === undefined) return notInstalled(stateDir)
  const { path, state } = conflist
  if (state === 'absent') return fail(`${path} is gone`, 'pods get another network, or none', REINSTALL)
  const [first] = (await readdir(dirname(path))).filter((name) => CONFIGURATION.test(name)).toSorted()
  if (first !== undefined && first !== basename(path))
    return fail(
      `${first} comes before ${basename(path)}`,
      'a runtime takes the configuration whose name sorts first',
      'Remove the other one, or install ours under an earlier name (offload install --name).',
    )
  if (state === 'changed')
    return fail(`${path} is another file`, 'it was changed since it was installed', `${REINSTALL} To chain plugins use its option --chain.`)
  return ok(path)
}

const notInstalled = (stateDir: string): Finding =>
  fail(
    `no receipt in ${stateDir}`,
    'nothing was installed by "offload install", or with another --state',
    'Run "offload install --network NAME", or name its folder with --install-state.',
  )
