import { Fn, type TerraformProvider } from "cdktf";
import type { Construct } from "constructs";
import { DataHcloudVolumes } from "../../imports/hcloud/data-hcloud-volumes/index.ts";
import { Volume } from "../../imports/hcloud/volume/index.ts";

export interface DataVolumeProps {
  readonly provider: TerraformProvider;
  readonly host: string;
  readonly location: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly protect: boolean;
  readonly dataGiB: number;
  /** Id of a volume that is not made here; null: one is made. */
  readonly existing: string | null;
}

/** A token, or an expression, for the id, which the provider gives as a string and takes as a number. */
export interface VolumeId {
  readonly id: string;
  readonly number: number;
}

/**
 * The volume that outlives the server. Hetzner formats nothing: the host does, and only what is blank. A plan that would
 * shrink it, or replace it by one in another place, fails before anything is changed.
 */
export function dataVolume(scope: Construct, props: DataVolumeProps): VolumeId {
  const { provider, host, location, labels, protect, dataGiB, existing } = props;
  if (existing !== null) return { id: existing, number: Fn.tonumber(existing) as unknown as number };
  const now = new DataHcloudVolumes(scope, "volumes", { provider, withSelector: `bailiwick-host=${host}` });
  const all = (holds: string) =>
    `\${alltrue([for v in data.hcloud_volumes.${now.friendlyUniqueId}.volumes : ${holds}])}`;
  const made = new Volume(scope, "data", {
    provider,
    name: `${host}-data`,
    size: dataGiB,
    location,
    labels: { ...labels },
    deleteProtection: protect,
    lifecycle: {
      precondition: [
        {
          condition: all(`v.size <= ${dataGiB}`),
          errorMessage: `AgentHost "${host}": the data volume is larger than dataGiB, ${dataGiB}, and a volume cannot shrink; set dataGiB to its size or more`,
        },
        {
          condition: all(`v.location == "${location}"`),
          errorMessage: `AgentHost "${host}": the data volume stands in another location than ${location}, and a volume cannot move; set its location, or make a host of another name there and copy what it needs`,
        },
      ],
    },
  });
  return { id: `\${hcloud_volume.${made.friendlyUniqueId}.id}`, number: made.getNumberAttribute("id") };
}
