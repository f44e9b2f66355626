import { readFile } from 'node:fs/promises'
import { resolve } from 'node:path'
import {
  type ChainedPlugin,
  DEFAULT_BIN_DIR,
  DEFAULT_CAPABILITIES,
  DEFAULT_CNI_VERSION,
  DEFAULT_CONF_DIR,
  DEFAULT_CONFLIST_NAME,
  DEFAULT_INSTALL_STATE_DIR,
  install,
  uninstall,
} from '@cni-offload/host/install'
import { OffloadError, parseWith } from '@cni-offload/sdk'
import { CNI_VERSIONS, type CniVersion, isAtLeast } from '@cni-offload/sdk/cni'
import { shimPath } from '@cni-offload/shim/build'
import { Command, Option } from 'commander'
import { z } from 'zod'

const say = (text: string): boolean => process.stdout.write(`${text}\n`)
const path = (text: string): string => resolve(text)

const stateOption = (): Option =>
  new Option('--state <dir>', 'folder for what must be remembered until uninstalling').default(DEFAULT_INSTALL_STATE_DIR).argParser(path)

interface Install {
  readonly network: string
  readonly shim?: string
  readonly binDir: string
  readonly confDir: string
  readonly name: string
  readonly state: string
  readonly cniVersion: CniVersion
  readonly capability: readonly string[]
  readonly chain?: string
  readonly replace?: true
  readonly json?: true
}

/** `offload install`: the CNI executable and the network configuration, where the container runtime looks for them. */
export function installCommand(): Command {
  return new Command('install')
    .description("put the CNI executable and the network configuration into the container runtime's folders")
    .requiredOption('--network <name>', 'name of the network; the agent must have an adapter for it')
    .option('--shim <file>', 'the CNI executable; that of this package by default', path)
    .addOption(new Option('--bin-dir <dir>', 'folder for the executable').default(DEFAULT_BIN_DIR).argParser(path))
    .addOption(new Option('--conf-dir <dir>', 'folder for the configuration').default(DEFAULT_CONF_DIR).argParser(path))
    .option('--name <file>', 'file name of the configuration; the first by name is the one in use', DEFAULT_CONFLIST_NAME)
    .addOption(stateOption())
    .addOption(
      new Option('--cni-version <version>', 'version that the runtime is to speak; containerd 1.x knows none newer than 1.0.0')
        .choices(CNI_VERSIONS.filter((version) => isAtLeast(version, '0.3.0')))
        .default(DEFAULT_CNI_VERSION),
    )
    .option('--capability <name...>', 'what pods may ask for', [...DEFAULT_CAPABILITIES])
    .option('--chain <file>', 'JSON file with a list of the plugins that run after ours')
    .option('--replace', 'keep a file of somebody else under one of our names aside, until uninstalling')
    .option('--json', 'print what was done as JSON')
    .action(async (options: Install) => {
      const report = await install({
        shim: options.shim ?? (await shimPath()),
        network: options.network,
        binDir: options.binDir,
        confDir: options.confDir,
        fileName: options.name,
        stateDir: options.state,
        cniVersion: options.cniVersion,
        capabilities: options.capability,
        chain: options.chain === undefined ? [] : await readChain(options.chain),
        replace: options.replace === true,
      })
      if (options.json === true) return void say(JSON.stringify(report, null, 2))
      for (const file of [...report.files, ...report.removed]) say(`${file.action.padEnd(9)} ${file.path}`)
    })
}

/** `offload uninstall`: takes away exactly what `offload install` put there. */
export function uninstallCommand(): Command {
  return new Command('uninstall')
    .description('take away what install has put there, and put back what it had replaced; drain the node first')
    .addOption(stateOption())
    .option('--json', 'print what was done as JSON')
    .action(async (options: { state: string; json?: true }) => {
      const { files } = await uninstall({ stateDir: options.state })
      if (options.json === true) say(JSON.stringify({ files }, null, 2))
      else if (files.length === 0) say('nothing is installed')
      else for (const file of files) say(`${file.action.padEnd(9)} ${file.path}`)
      if (files.some(({ action }) => action === 'kept'))
        throw new OffloadError('ALREADY_EXISTS', 'files that were changed after they were installed are left where they are', {
          hint: 'Remove them by hand, then run uninstall again.',
        })
    })
}

const chainSchema: z.ZodType<readonly ChainedPlugin[]> = z.array(z.looseObject({ type: z.string() }))

async function readChain(file: string): Promise<readonly ChainedPlugin[]> {
  let decoded: unknown
  try {
    decoded = JSON.parse(await readFile(file, 'utf8'))
  } catch (error) {
    throw new OffloadError('INVALID_CONFIG', `--chain ${file}: cannot be read as JSON`, { cause: error })
  }
  return parseWith(chainSchema, decoded, `--chain ${file}`, 'INVALID_CONFIG')
}
