import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import * as cni from '../src/cni/index.ts'
import * as exec from '../src/exec/index.ts'
import * as root from '../src/index.ts'
import * as runtime from '../src/runtime/index.ts'

/** Specifiers that a module imports at run time, and those of the modules that it reaches within the package. */
const reached = (entry: URL, seen = new Set<string>()): Set<string> => {
  if (seen.has(entry.href)) return seen
  seen.add(entry.href)
  const source = readFileSync(entry, 'utf8')
  for (const [, typeOnly, specifier] of source.matchAll(/^(?:import|export)( type)?\s(?:[^'\n]*?\sfrom\s)?'([^']+)'/gm)) {
    if (typeOnly !== undefined) continue
    if (specifier!.startsWith('.')) reached(new URL(specifier!, entry), seen)
    else seen.add(specifier!)
  }
  return seen
}

const outside = (entry: string): string[] =>
  [...reached(new URL(entry, import.meta.url))].filter((name) => !name.startsWith('file:')).toSorted()

describe('entries', () => {
  it.each(['../src/index.ts', '../src/cni/index.ts'])('%s imports nothing but zod', (entry) => {
    expect(outside(entry)).toEqual(['zod'])
  })

  it('the runtime entry is where the container is', () => {
    expect(outside('../src/runtime/index.ts')).toEqual(expect.arrayContaining(['reflect-metadata', 'tsyringe']))
  })

  it('the root exports what was released', () => {
    expect(Object.keys(root).toSorted()).toEqual([
      'ERROR_CODES',
      'OffloadError',
      'UNKNOWN_MAC',
      'VF_ADMIN_FIELDS',
      'VF_ADMIN_SETTINGS',
      'askedVfSettings',
      'attachRequest',
      'attachResult',
      'attachmentKeySchema',
      'causeMessages',
      'cniName',
      'definePlugin',
      'dns',
      'formatAttachmentKey',
      'formatVfId',
      'hostIpam',
      'interfaceName',
      'ipAddress',
      'ipCidr',
      'isErrorCode',
      'isPlugin',
      'macAddress',
      'mtu',
      'parseWith',
      'repairRecord',
      'route',
      'silentLogger',
      'systemClock',
      'vfAdminSetting',
      'vfAdminSettings',
      'vfDeviceId',
      'vfVlan',
    ])
  })

  it('./cni exports what was released', () => {
    expect(Object.keys(cni).toSorted()).toEqual([
      'CNI_VERSIONS',
      'NEWEST_CNI_VERSION',
      'answerVersion',
      'asksNothing',
      'capabilityDemands',
      'decodeResult',
      'encodeError',
      'encodeResult',
      'isAtLeast',
      'isCniVersion',
      'parseCniArgs',
      'parseEnvironment',
      'parseNetconf',
      'versionReply',
      'withGateway',
    ])
  })

  it('./exec starts processes, and does not bring the container along', () => {
    expect(outside('../src/exec/index.ts')).toEqual([
      'node:child_process',
      'node:events',
      'node:fs',
      'node:fs/promises',
      'node:path',
      'node:readline',
      'zod',
    ])
  })

  it('./exec exports what was released', () => {
    expect(Object.keys(exec).toSorted()).toEqual([
      'DelegateRunner',
      'ListRunner',
      'PLUGIN_OWNER',
      'PluginError',
      'PluginExecutor',
      'PluginListFile',
      'decodeRaw',
      'endOrphans',
      'inlineList',
      'ipamTypes',
      'listCapabilities',
      'nodeEnvironment',
      'pluginList',
      'pluginType',
      'runChild',
      'startChild',
      'withMac',
    ])
  })

  it('./runtime exports what was released', () => {
    expect(Object.keys(runtime).toSorted()).toEqual([
      'KeyedMutex',
      'Limiter',
      'RepairLedger',
      'STEPS_CHANNEL',
      'Scope',
      'aborted',
      'announceReady',
      'deadline',
      'importBeside',
      'limitsSchema',
      'loadPlugin',
      'loadPluginOf',
      'parseListen',
      'pathsFrom',
      'pluginReference',
      'reached',
      'readConfigFile',
      'refuseIfAborted',
      'runDaemon',
      'serveMetrics',
      'token',
      'tokenName',
    ])
  })
})
