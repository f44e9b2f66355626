import { dirname } from 'node:path'
import { importBeside, loadPluginOf, type ModuleImporter, pathsFrom, readConfigFile } from '@cni-offload/sdk/runtime'
import { parse } from 'yaml'
import { stderrLogger } from '../log.ts'
import type { AgentOptions } from '../options.ts'
import { type AgentConfig, agentConfig } from './schema.ts'

/**
 * Reads `agent.yaml`. Relative paths in it are relative to its folder.
 *
 * @throws OffloadError INVALID_CONFIG naming file, path, value and what is expected
 */
export async function readAgentConfig(file: string): Promise<AgentConfig> {
  const config = await readConfigFile(file, agentConfig, (text) => parse(text, { maxAliasCount: 0 }) ?? {})
  const absolute = pathsFrom(file)
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
  const adapters = await Promise.all(
    config.adapters.map(
      async (entry, at) => [entry.network, await loadPluginOf({ file, entry: `adapters.${at}` }, 'adapter', entry, importer)] as const,
    ),
  )
  return {
    node: config.node,
    listen: config.listen,
    tls: config.tls,
    stateDir: config.stateDir,
    hardware: await loadPluginOf({ file, entry: 'hardware' }, 'dpu-device', config.hardware, importer),
    adapters: Object.fromEntries(adapters),
    ports: Object.fromEntries(config.adapters.map(({ network, ports }) => [network, ports ?? []])),
    forget: config.forget,
    log: stderrLogger(config.log.level),
    ...(config.limits === undefined ? {} : { limits: config.limits }),
    ...(config.metrics === undefined ? {} : { metrics: config.metrics.listen }),
  }
}
