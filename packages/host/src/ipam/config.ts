import { z } from 'zod'
import { binDirs } from '../plugins/per-folders.ts'

/** How IPAM plugins are run on this host, for networks whose configuration says `hostIPAM`. */
export interface HostIpamOptions {
  /** Folders of the plugins, also their CNI_PATH. @defaultValue the runtime's CNI_PATH, else `/opt/cni/bin` and `/usr/lib/cni` */
  readonly binDirs?: readonly string[] | undefined
}

/** Schema of {@link HostIpamOptions}. */
export const hostIpamOptions: z.ZodType<HostIpamOptions> = z.strictObject({ binDirs: binDirs.optional() })
