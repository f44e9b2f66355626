import { dirname } from 'node:path'
import { importBeside, loadPluginOf, type ModuleImporter, pathsFrom, readConfigFile } from '@cni-offload/sdk/runtime'
import { parse } from 'yaml'
import { stderrLogger } from '../log.ts'
import type { HostOptions } from '../options.ts'
import { type HostConfig, hostConfig } from './schema.ts'

/**
 * Reads `host.yaml`. Relative paths in it are relative to its folder.
 *
 * @throws OffloadError INVALID_CONFIG naming file, path, value and what is expected
 */
export async function readHostConfig(file: string): Promise<HostConfig> {
  const config = await readConfigFile(file, hostConfig, (text) => parse(text, { maxAliasCount: 0 }) ?? {})
  const absolute = pathsFrom(file)
  const { address, tls } = config.agent
  return {
    ...config,
    socket: absolute(config.socket),
    stateDir: absolute(config.stateDir),
    root: absolute(config.root),
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
  const { node, socket, stateDir, agent, metrics, deviceInfo, fallback, ipam, devicePlugin, limits, root } = config
  return {
    node,
    socket,
    stateDir,
    agent,
    hardware: await loadPluginOf({ file, entry: 'hardware' }, 'host-device', config.hardware, importer),
    deviceInfoDir: deviceInfo.dir,
    root,
    log: stderrLogger(config.log.level),
    ...(limits === undefined ? {} : { limits }),
    ...(fallback === undefined ? {} : { fallback }),
    ...(ipam === undefined ? {} : { ipam }),
    ...(metrics === undefined ? {} : { metrics: metrics.listen }),
    ...(devicePlugin === undefined ? {} : { devicePlugin }),
  }
}
