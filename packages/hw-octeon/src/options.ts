import { isPciAddress } from '@cni-offload/linux/pci'
import { z } from 'zod'

/** Schema of a PCI address. */
export const pciAddress: z.ZodType<string, string> = z
  .string()
  .refine(isPciAddress, 'a PCI address such as 0000:01:00.0, as `lspci -D` prints it')

/** Schema of the `root` option. */
export const rootFolder: z.ZodString = z.string().startsWith('/', 'an absolute path of a folder')

/** Schema of an end of the management link. */
export const managementAddress: z.ZodType<string, string> = z.union([z.cidrv4(), z.cidrv6()], {
  error: 'an address with prefix length such as 192.168.1.2/24',
})

/** Options of which some have got their defaults. */
export type WithDefaults<T, K extends keyof T> = Omit<T, K> & { readonly [Key in K]-?: Exclude<T[Key], undefined> }
