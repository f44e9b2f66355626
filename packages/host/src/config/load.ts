import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { OffloadError, parseWith } from '@cni-offload/sdk'
import { importBeside, loadPlugin, type ModuleImporter } from '@cni-offload/sdk/runtime'
import { parseDocument } from 'yaml'
import { stderrLogger } from '../log.ts'
import type { HostOptions } from '../options.ts'
import { type HostConfig, hostConfig } from './schema.ts'

/**
 * Reads `host.yaml`. Relative paths in it are relative to its folder.
 *
 * @throws OffloadError INVALID_CONFIG naming file, path, value and what is expected
 */
export async function readHostConfig(file: string): Promise<HostConfig> {
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new OffloadError('INVALID_CONFIG', `${file} cannot be read: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
      hint: 'Give the path of the configuration with --config.',
    })
  })
  const document = parseDocument(text)
  const [problem] = document.errors
  if (problem !== undefined)
    throw new OffloadError('INVALID_CONFIG', `${file} is not YAML: ${problem.message.split('\n')[0] ?? ''}`, { cause: problem })
  const config = parseWith(hostConfig, document.toJS({ maxAliasCount: 0 }) ?? {}, file, 'INVALID_CONFIG')
  const absolute = (path: string): string => resolve(dirname(file), path)
  const { address, tls } = config.agent
  return {
    ...config,
    socket: absolute(config.socket),
    stateDir: absolute(config.stateDir),
    agent: { address, tls: { ca: absolute(tls.ca), cert: absolute(tls.cert), key: absolute(tls.key) } },
  }
}

/**
 * Loads the plugin that a configuration names.
 *
 * @param file - the configuration's path, for messages
 * @param importer - where the plugin is found: beside the configuration, in the working directory, or beside the daemon
 * @throws OffloadError INVALID_CONFIG naming file and entry
 */
export async function hostOptions(
  config: HostConfig,
  file: string,
  importer: ModuleImporter = importBeside([dirname(file), process.cwd(), import.meta.dirname]),
): Promise<HostOptions> {
  const hardware = await loadPlugin('host-device', config.hardware, importer).catch((error: unknown) => {
    const failure = OffloadError.from(error, 'INVALID_CONFIG')
    throw new OffloadError(failure.code, `${file}: hardware: ${failure.message}`, {
      cause: error,
      ...(failure.hint === undefined ? {} : { hint: failure.hint }),
    })
  })
  const { node, socket, stateDir, agent, metrics } = config
  return {
    node,
    socket,
    stateDir,
    agent,
    hardware,
    log: stderrLogger(config.log.level),
    ...(metrics === undefined ? {} : { metrics: metrics.listen }),
  }
}
