import { readFile } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { OffloadError, parseWith } from '@cni-offload/sdk'
import { importBeside, loadPlugin, type ModuleImporter, type PluginReference } from '@cni-offload/sdk/runtime'
import { LineCounter, parseDocument } from 'yaml'
import { stderrLogger } from '../log.ts'
import type { AgentOptions } from '../options.ts'
import { type AgentConfig, agentConfig } from './schema.ts'

const message = (error: unknown): string => (error instanceof Error ? error.message : String(error))

/**
 * Reads `agent.yaml`. Relative paths in it are relative to its folder.
 *
 * @throws OffloadError INVALID_CONFIG naming file, path, value and what is expected
 */
export async function readAgentConfig(file: string): Promise<AgentConfig> {
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    throw new OffloadError('INVALID_CONFIG', `${file} cannot be read: ${message(error)}`, {
      cause: error,
      hint: 'Give the path of the configuration with --config.',
    })
  })
  const lineCounter = new LineCounter()
  const document = parseDocument(text, { lineCounter, prettyErrors: true })
  const [problem] = document.errors
  if (problem !== undefined)
    throw new OffloadError('INVALID_CONFIG', `${file} is not YAML: ${problem.message.split('\n')[0] ?? ''}`, { cause: problem })
  const config = parseWith(agentConfig, document.toJS({ maxAliasCount: 0 }) ?? {}, file, 'INVALID_CONFIG')
  const absolute = (path: string): string => resolve(dirname(file), path)
  const { ca, cert, key } = config.tls
  return { ...config, stateDir: absolute(config.stateDir), tls: { ca: absolute(ca), cert: absolute(cert), key: absolute(key) } }
}

/**
 * Loads the plugins that a configuration names.
 *
 * @param file - the configuration's path, for messages
 * @param importer - where plugins are found: beside the configuration, then in the working directory, unless told otherwise
 * @throws OffloadError INVALID_CONFIG naming file and entry
 */
export async function agentOptions(
  config: AgentConfig,
  file: string,
  importer: ModuleImporter = importBeside([dirname(file), process.cwd()]),
): Promise<AgentOptions> {
  const load = async <K extends 'adapter' | 'dpu-device'>(
    kind: K,
    reference: PluginReference,
    path: string,
  ): ReturnType<typeof loadPlugin<K>> => {
    return await loadPlugin(kind, reference, importer).catch((error: unknown) => {
      const failure = OffloadError.from(error, 'INVALID_CONFIG')
      throw new OffloadError(failure.code, `${file}: ${path}: ${failure.message}`, {
        cause: error,
        ...(failure.hint === undefined ? {} : { hint: failure.hint }),
      })
    })
  }
  const adapters = await Promise.all(
    config.adapters.map(async (entry, at) => [entry.network, await load('adapter', entry, `adapters.${at}`)] as const),
  )
  return {
    node: config.node,
    listen: config.listen,
    tls: config.tls,
    stateDir: config.stateDir,
    hardware: await load('dpu-device', config.hardware, 'hardware'),
    adapters: Object.fromEntries(adapters),
    log: stderrLogger(config.log.level),
    ...(config.metrics === undefined ? {} : { metrics: config.metrics.listen }),
  }
}
